/**
 * Preloaded into a process (`node --import`), it shifts that process's date by as many milliseconds as the file named by FAULTS_CLOCK
 * says, at any time. What only goes forward (`performance.now`, timers) is left alone, as it is when somebody sets a machine's clock.
 */
import { readFileSync } from 'node:fs';

const file = process.env.FAULTS_CLOCK as string;
const RealDate = Date;
let shift = 0;
setInterval(() => {
  shift = Number(readFileSync(file, 'utf8')) || 0;
}, 50).unref();

class ShiftedDate extends RealDate {
  constructor(...given: unknown[]) {
    if (given.length) super(...(given as [number]));
    else super(RealDate.now() + shift);
  }

  static override now(): number {
    return RealDate.now() + shift;
  }
}
globalThis.Date = ShiftedDate as DateConstructor;
