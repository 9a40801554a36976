// Over data channels. One message of at most FRAME bytes is one message of the channel; a longer one
// is cut, and put together with one copy.
const FRAME = 16 * 1024;
// What may wait in the browser, and when it says that there is room again: bytes. As in Deltawire.
const HIGH = 256 * 1024;
const LOW = 64 * 1024;

export async function open([command, up, down]) {
  up.bufferedAmountLowThreshold = LOW;
  const room = () => new Promise((resolve) => {
    up.onbufferedamountlow = resolve;
  });
  const write = async (bytes, wanted) => {
    while (wanted()) {
      for (let start = 0; start < bytes.length; start += FRAME) {
        if (up.bufferedAmount > HIGH - FRAME) await room();
        up.send(bytes.subarray(start, start + FRAME));
      }
    }
  };
  await Promise.all([command, up, down].map(opened));
  return { command, up, down, write };
}

const opened = (channel) => new Promise((resolve) => {
  channel.onopen = resolve;
  if (channel.readyState === "open") resolve();
});
