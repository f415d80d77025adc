/**
 * A Redis that answers nothing would cost each request the time limit of every command. With this it costs one command its
 * limit, once in `pauseMs`; all others do without at once.
 */
import { type Command, Redis } from 'ioredis';

/** After a command that was not answered in time Redis is left alone, in milliseconds; then one command tries again. */
const pauseMs = 1000;

/** A process that was busy has read nothing meanwhile: what has come is read before its time counts as over. */
const limitTime = (command: Command, limitMs: number): void => {
  const timer = setTimeout(() => setImmediate(() => command.reject(new Error('Command timed out'))), limitMs);
  const clear = () => clearTimeout(timer);
  command.promise.then(clear, clear);
};

const leftAlone = () => new Error('Redis did not answer in time, and is left alone for a while');

export class PatientRedis extends Redis {
  private pausedUntil = 0;
  private isTrying = false;

  override sendCommand(command: Command, stream?: Parameters<Redis['sendCommand']>[1]): unknown {
    // What belongs to the beginning of a connection is not ours.
    if (this.status === 'ready' && this.pausedUntil) {
      if (this.isTrying || performance.now() < this.pausedUntil) {
        command.reject(leftAlone());
        return command.promise;
      }
      this.isTrying = true;
    }
    command.setTimeout = (limitMs) => {
      command.setTimeout = () => {};
      limitTime(command, limitMs);
    };
    const answer = super.sendCommand(command, stream);
    command.promise.then(
      () => this.settle(0),
      ({ message }: Error) => {
        if (message === 'Command timed out') this.settle(performance.now() + pauseMs);
        // Refused, it is there; and a connection that is lost opens again by itself.
        else if (this.isTrying) this.settle(0);
      },
    );
    return answer;
  }

  private settle(pausedUntil: number): void {
    this.pausedUntil = pausedUntil;
    this.isTrying = false;
  }
}
