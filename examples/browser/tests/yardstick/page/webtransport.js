// Over WebTransport: commands have a stream both ways, data have one each way. In front of each
// message is its length, a u32. None is cut: what reads a stream gives its pieces as they come.
const CHUNK = 64 * 1024;
// Up to this length messages come in one piece.
const SHORT = 64;

export async function open() {
  const offered = await fetch("/webtransport");
  if (!offered.ok) throw new Error("the server has no WebTransport");
  const [url, hash] = (await offered.text()).split("#");
  const value = Uint8Array.from(hash.match(/../g), (byte) => parseInt(byte, 16));
  const serverCertificateHashes = [{ algorithm: "sha-256", value }];
  const transport = new WebTransport(url, { serverCertificateHashes });
  await transport.ready;
  const both = await transport.createBidirectionalStream();
  const command = sender(both.writable);
  const up = sender(await transport.createUnidirectionalStream());
  // The server hears of a stream with what comes on it: an echo of nothing.
  up.send(new Uint8Array(0));
  command.send(new Uint8Array(0));
  const answered = new Promise((resolve) => {
    command.onmessage = resolve;
  });
  read(both.readable, command);
  const incoming = await transport.incomingUnidirectionalStreams.getReader().read();
  const down = { onmessage: null };
  const first = new Promise((resolve) => {
    down.onmessage = resolve;
  });
  read(incoming.value, down);
  await Promise.all([answered, first]);
  const write = async (bytes, wanted) => {
    const message = framed(bytes);
    while (wanted()) await up.writer.write(message);
  };
  return { command, up, down, write };
}

const sender = (stream) => ({
  writer: stream.getWriter(),
  onmessage: null,
  send(bytes) {
    this.writer.write(framed(bytes));
  },
});

function framed(message) {
  const bytes = new Uint8Array(message.buffer, message.byteOffset, message.byteLength);
  const framed = new Uint8Array(4 + bytes.length);
  new DataView(framed.buffer).setUint32(0, bytes.length, true);
  framed.set(bytes, 4);
  return framed;
}

// Until the session ends, with which the page ends too.
async function read(stream, way) {
  const reader = stream.getReader({ mode: "byob" });
  let buffer = new ArrayBuffer(CHUNK);
  // Bytes at the buffer's front that were no use by themselves, and what is missing of a message.
  let [kept, missing] = [0, 0];
  for (;;) {
    const { value, done } = await reader.read(new Uint8Array(buffer, kept));
    if (done) return;
    buffer = value.buffer;
    const end = kept + value.length;
    const lengths = new DataView(buffer);
    let at = 0;
    while (at < end) {
      if (missing === 0) {
        if (end - at < 4) break;
        const length = lengths.getUint32(at, true);
        if (length <= SHORT && end - at < 4 + length) break;
        at += 4;
        missing = length;
      }
      const piece = Math.min(missing, end - at);
      if (piece > 0 || missing === 0) way.onmessage({ data: new Uint8Array(buffer, at, piece) });
      at += piece;
      missing -= piece;
    }
    new Uint8Array(buffer).copyWithin(0, at, end);
    kept = end - at;
  }
}
