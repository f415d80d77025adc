/** Clocks must agree: tokens say in seconds from when and until when they are good, and keys begin to sign by the clock. */
import type { Report } from './findings.ts';

const warningSeconds = 5;
const failureSeconds = 30;

/** @param resolutionSeconds how coarse the other clock is told */
export const reportClock = (whose: string, theirs: number, report: Report, resolutionSeconds = 0): void => {
  const seconds = Math.abs(Date.now() - theirs) / 1000 - resolutionSeconds;
  const text = `this clock and ${whose} differ by ${Math.max(0, seconds).toFixed(1)} s`;
  const advice = 'Have both follow the same time servers (NTP)';
  if (seconds > failureSeconds) report('failure', text, advice);
  else report(seconds > warningSeconds ? 'warning' : 'ok', text, advice);
};
