// The programs beside the browser: started, read line by line, and ended.

const { spawn } = require("node:child_process");
const { createInterface } = require("node:readline");

const running = new Set();

class Program {
  constructor(command, args, options = {}) {
    this.child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], ...options });
    this.lines = [];
    this.waiting = [];
    this.ended = new Promise((resolve) => {
      this.child.on("exit", (code, signal) => resolve(signal ?? code));
      this.child.on("error", (error) => resolve(error.message));
    });
    running.add(this);
    this.ended.then(() => running.delete(this));
    createInterface({ input: this.child.stdout }).on("line", (line) => {
      this.lines.push(line);
      this.waiting = this.waiting.filter((look) => !look());
    });
    this.name = command.split("/").at(-1);
  }

  /** The matches of a pattern in what was printed, once there are so many. */
  printed(pattern, count = 1) {
    const found = new Promise((resolve) => {
      const look = () => {
        const matches = this.lines.map((line) => line.match(pattern)).filter(Boolean);
        return matches.length >= count && (resolve(matches), true);
      };
      if (!look()) this.waiting.push(look);
    });
    const ended = this.ended.then((how) => {
      throw new Error(`${this.name} ended (${how}) before it printed ${pattern}`);
    });
    return Promise.race([found, ended]);
  }

  /** How it ends after a signal: an exit code, or the signal's name. */
  end(signal) {
    this.child.kill(signal);
    return this.ended;
  }
}

process.on("exit", () => running.forEach(({ child }) => child.kill("SIGKILL")));

module.exports = { Program };
