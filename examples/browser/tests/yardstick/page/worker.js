// Moves bytes over data channels as directly as a browser lets it: no framing, no session. One
// message of at most FRAME bytes is one message of the channel; a longer one is cut, and put
// together with one copy. The server is beside this folder.
"use strict";

const FRAME = 16 * 1024;
// What may wait in the browser, and when it says that there is room again: bytes. As in Deltawire.
const HIGH = 256 * 1024;
const LOW = 64 * 1024;

let command, up, down;

self.onmessage = ({ data: { query, channels } }) => {
  [command, up, down] = channels;
  up.bufferedAmountLowThreshold = LOW;
  const parameters = new URLSearchParams(query);
  run(parameters.get("measure"), parameters.has("quick"))
    .then((figures) => self.postMessage({ figures, error: null }))
    .catch((error) => self.postMessage({ figures: {}, error: String(error) }));
};
self.postMessage("ready");

async function run(job, quick) {
  await Promise.all([command, up, down].map(open));
  const [kind, number] = job.split("-");
  const scale = quick ? 16 : 1;
  if (kind === "rate") return rate(Number(number), scale);
  if (kind === "echo") return echo(5000 / scale);
  if (kind === "commands") return commands(scale);
  throw new Error(`there is no ${job}`);
}

const open = (channel) => new Promise((resolve) => {
  channel.onopen = resolve;
  if (channel.readyState === "open") resolve();
});

const room = () => new Promise((resolve) => {
  up.onbufferedamountlow = resolve;
});

const message = (channel) => new Promise((resolve) => {
  channel.onmessage = ({ data }) => resolve(data);
});

// 10⁶ bytes a second, each way.
async function rate(size, scale) {
  const total = (size < 16 * 1024 ? 8 : 32) * 1024 * 1024 / scale;
  const count = Math.max(Math.floor(total / size), 1);
  await send(size, Math.ceil(count / 4));
  await receive(size, Math.ceil(count / 4));
  const started = performance.now();
  await send(size, count);
  const turned = performance.now();
  await receive(size, count);
  const ended = performance.now();
  const megabytes = size * count / 1e6;
  return { up: megabytes / (turned - started) * 1e3, down: megabytes / (ended - turned) * 1e3 };
}

async function send(size, count) {
  const counted = message(down);
  await write(new Uint8Array(size), () => count-- > 0);
  up.send(new Uint8Array(1)); // a message of 1 byte asks how many came before it
  await counted;
}

// Sends the message for as long as it is wanted.
async function write(bytes, wanted) {
  while (wanted()) {
    for (let start = 0; start < bytes.length; start += FRAME) {
      if (up.bufferedAmount > HIGH - FRAME) await room();
      up.send(bytes.subarray(start, start + FRAME));
    }
  }
}

// So many messages of this size, put together where they are longer than a frame.
function receive(size, count) {
  const whole = new Uint8Array(size);
  let at = 0;
  const done = new Promise((resolve) => {
    down.onmessage = ({ data }) => {
      if (data.byteLength < size) {
        whole.set(new Uint8Array(data), at);
        at = (at + data.byteLength) % size;
        if (at > 0) return;
      }
      count -= 1;
      if (count === 0) resolve();
    };
  });
  command.send(new Uint32Array([size, count]));
  return done;
}

// Round trips of 64 B, one after the other: microseconds.
async function echo(rounds) {
  const times = await roundTrips(up, down, rounds + rounds / 10);
  return { p50: quantile(times.slice(rounds / 10), 0.5), p99: quantile(times.slice(rounds / 10), 0.99) };
}

// Round trips of a command beside messages of 64 KiB one way, then the other: microseconds.
async function commands(scale) {
  const idle = await roundTrips(command, command, 200);
  let busy = true;
  const sent = write(new Uint8Array(64 * 1024), () => busy);
  const beside = await roundTrips(command, command, 300 / scale);
  busy = false;
  await sent;
  const counted = message(down);
  up.send(new Uint8Array(1));
  await counted;
  busy = true;
  const received = receive(64 * 1024, 1024 / scale).then(() => busy = false);
  const besideReceiving = await roundTrips(command, command, Infinity, () => busy);
  await received;
  return {
    "idle-p50": quantile(idle, 0.5),
    "up-p50": quantile(beside, 0.5),
    "up-p95": quantile(beside, 0.95),
    "down-p50": quantile(besideReceiving, 0.5),
    "down-p95": quantile(besideReceiving, 0.95),
  };
}

function roundTrips(there, back, rounds, wanted = () => true) {
  const bytes = new Uint8Array(64);
  const times = [];
  return new Promise((resolve) => {
    let sent = performance.now();
    back.onmessage = () => {
      const now = performance.now();
      times.push((now - sent) * 1e3);
      if (times.length >= rounds || !wanted()) return resolve(times);
      sent = now;
      there.send(bytes);
    };
    there.send(bytes);
  });
}

function quantile(times, share) {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)];
}
