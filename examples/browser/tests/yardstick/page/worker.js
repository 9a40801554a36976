// Measures what moves bytes as directly as a browser lets it: no framing, no session. The ways
// there are beside this file, the server beside this folder. Each way gives, once it is open:
//   command  has send() for short messages of commands, and calls onmessage
//   up       has send() for short messages of data
//   down     calls onmessage with those that come: whole ones, or a long one's pieces
//   write    sends one message for as long as it is wanted, and waits for room
import { open as webrtc } from "./webrtc.js";
import { open as websocket } from "./websocket.js";
import { open as webtransport } from "./webtransport.js";

let command, up, down, write;

self.onmessage = ({ data: { query, kind, channels } }) => {
  const parameters = new URLSearchParams(query);
  // In this task, as channels lose what comes before somebody listens.
  const opening = { webrtc, websocket, webtransport }[kind](channels);
  run(opening, parameters.get("measure"), parameters.has("quick"))
    .then((figures) => self.postMessage({ figures, error: null }))
    .catch((error) => self.postMessage({ figures: {}, error: String(error) }));
};
self.postMessage("ready");

async function run(opening, job, quick) {
  ({ command, up, down, write } = await opening);
  const [kind, number] = job.split("-");
  const scale = quick ? 16 : 1;
  if (kind === "rate") return rate(Number(number), scale);
  if (kind === "echo") return echo(5000 / scale);
  if (kind === "commands") return commands(scale);
  throw new Error(`there is no ${job}`);
}

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

// So many messages of this size, put together where they come in pieces.
function receive(size, count) {
  const whole = new Uint8Array(size);
  let at = 0;
  const done = new Promise((resolve) => {
    down.onmessage = ({ data }) => {
      if (data.byteLength < size) {
        whole.set(data instanceof ArrayBuffer ? new Uint8Array(data) : data, at);
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
