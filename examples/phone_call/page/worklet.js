// Both directions of a call at 16 kHz: input to frames of 320 samples, received frames to output.
"use strict";

class Phone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.frame = new Int16Array(320);
    this.filled = 0;
    this.queue = [];
    this.at = 0;
    this.port.onmessage = ({ data }) => {
      if (data === "stop") this.queue = [];
      else this.queue.push(new Int16Array(data));
      if (this.queue.length < 2) this.at = 0;
    };
  }

  hear(samples) {
    for (const sample of samples) {
      this.frame[this.filled++] = Math.max(-32768, Math.min(32767, 32767 * sample));
      if (this.filled === this.frame.length) {
        this.port.postMessage(this.frame.buffer.slice(0));
        this.filled = 0;
      }
    }
  }

  play(samples) {
    for (let index = 0; index < samples.length; index++) {
      if (!this.queue.length) { samples[index] = 0; continue; }
      samples[index] = this.queue[0][this.at++] / 32768;
      if (this.at === this.queue[0].length) { this.queue.shift(); this.at = 0; }
    }
  }

  process(inputs, outputs) {
    if (inputs[0][0]) this.hear(inputs[0][0]);
    this.play(outputs[0][0]);
    return true;
  }
}

registerProcessor("phone", Phone);
