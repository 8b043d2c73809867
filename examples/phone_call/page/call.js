// The microphone's frames go out as binary messages, the desk's come back the same way; text messages say what happens.
"use strict";

const button = document.getElementById("call");
const log = document.getElementById("log");
const partial = document.getElementById("partial");
let hangUp = null;

function line(kind, text) {
  const p = document.createElement("p");
  p.className = kind;
  p.textContent = text;
  log.append(p);
}

function show(event, port) {
  partial.textContent = event.kind === "partial" ? event.text : "";
  if (event.kind === "stop") port.postMessage("stop");
  if (event.kind === "turn") line("you", "You: " + event.text);
  if (event.kind === "said") line("desk", "Desk: " + event.text);
  if (event.kind === "did") line("did", event.text);
  if (event.kind === "times") {
    const stages = Object.entries(event.times).map(([name, seconds]) => `${name} ${Math.round(1000 * seconds)} ms`);
    line("times", stages.join(", "));
  }
}

async function call() {
  const { url } = await (await fetch("chain.json")).json();
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const context = new AudioContext({ sampleRate: 16000 });
  await context.audioWorklet.addModule("worklet.js");
  const node = new AudioWorkletNode(context, "phone", { outputChannelCount: [1] });
  context.createMediaStreamSource(stream).connect(node);
  node.connect(context.destination);
  const socket = new WebSocket(url.replace(/^http/, "ws") + "/run_remote");
  socket.binaryType = "arraybuffer";
  node.port.onmessage = ({ data }) => socket.readyState === WebSocket.OPEN && socket.send(data);
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) node.port.postMessage(data, [data]);
    else {
      const said = JSON.parse(data);
      if (said.item) show(said.item, node.port);
      if (said.error) line("did", said.error.message);
    }
  };
  hangUp = () => {
    hangUp = null;
    if (socket.readyState === WebSocket.OPEN) socket.send('{"end": {}}');  // the chain closes, and keeps its trace
    stream.getTracks().forEach((track) => track.stop());
    context.close();
    button.textContent = "Call";
  };
  socket.onclose = () => hangUp && hangUp();
  button.textContent = "Hang up";
}

button.onclick = () => (hangUp ? hangUp() : call().catch((error) => line("did", String(error))));
