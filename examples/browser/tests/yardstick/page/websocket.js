// Over one WebSocket, cut as over data channels. Lengths say what messages are: the server answers
// short ones, which is for who asked last, and acknowledges bytes with ACK of them. A browser does
// not tell when there is room again, and who asks it time and again waits for its timers, of 4 ms.
const FRAME = 16 * 1024;
const ACK = 4;
const SHORT = 64;
// Bytes that may be on their way, of which the server acknowledges each 64 KiB.
const HIGH = 256 * 1024;

export async function open() {
  const address = await fetch("/websocket");
  if (!address.ok) throw new Error("the server has no WebSocket");
  const socket = new WebSocket(await address.text());
  socket.binaryType = "arraybuffer";
  let asked, underway = 0, resume = () => {};
  const way = () => ({
    onmessage: null,
    send(bytes) {
      asked = this;
      socket.send(bytes);
    },
  });
  const [command, data] = [way(), way()];
  socket.onmessage = (event) => {
    const length = event.data.byteLength;
    if (length > SHORT) {
      data.onmessage(event);
    } else if (length === ACK) {
      underway -= new DataView(event.data).getUint32(0, true);
      resume();
    } else {
      asked.onmessage(event);
    }
  };
  const room = () => new Promise((resolve) => {
    resume = resolve;
  });
  const write = async (bytes, wanted) => {
    while (wanted()) {
      for (let start = 0; start < bytes.length; start += FRAME) {
        while (underway > HIGH - FRAME) await room();
        const frame = bytes.subarray(start, start + FRAME);
        socket.send(frame);
        underway += frame.length;
      }
    }
  };
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error("there is no WebSocket"));
  });
  return { command, up: data, down: data, write };
}
