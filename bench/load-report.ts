/** The report of a load test: one HTML file that needs nothing else, readable in the light and in the dark. */
import { percentile } from './numbers.ts';
import { countErrors, type LoadResult, latenciesOf, type Sample } from './samples.ts';

const width = 720;
const height = 200;
const margin = { left: 56, right: 12, top: 12, bottom: 28 };
const innerWidth = width - margin.left - margin.right;
const innerHeight = height - margin.top - margin.bottom;

const escapeHtml = (text: string): string => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

interface Scale {
  (value: number): number;
  ticks: readonly number[];
}

/** A round number that is not less: 1, 2 or 5 times a power of ten. */
const roundUp = (value: number): number => {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return ([1, 2, 5, 10].find((factor) => factor * power >= value * 0.999) ?? 10) * power;
};

const linear = (max: number, size: number): Scale => {
  const step = roundUp(Math.max(max, 1e-9) / 5);
  const top = Math.ceil(max / step - 1e-9) * step || 1;
  const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, index) => index * step);
  return Object.assign((value: number) => (value / top) * size, { ticks });
};

/** Decades, for latencies: a median and a maximum would not share a linear one. */
const logarithmic = (min: number, max: number, size: number): Scale => {
  const low = Math.floor(Math.log10(Math.max(min, 0.1)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(max, 1))));
  const ticks = Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index));
  const scale = (value: number) => ((Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)) * size;
  return Object.assign(scale, { ticks });
};

const number = (value: number): string =>
  Number.isNaN(value) ? '–' : value >= 10 ? value.toFixed(0) : String(Number(value.toPrecision(2)));

interface Line {
  name: string;
  /** Its colour, of those in the style sheet. */
  colour: number;
  points: readonly (readonly [x: number, y: number])[];
}

const plot = (title: string, unit: string, x: Scale, y: Scale, lines: readonly Line[], xText: string): string => {
  const atX = (value: number) => (margin.left + x(value)).toFixed(1);
  const atY = (value: number) => (margin.top + innerHeight - y(value)).toFixed(1);
  const grid = y.ticks
    .map(
      (tick) =>
        `<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${atY(tick)}" y2="${atY(tick)}"/>` +
        `<text x="${margin.left - 8}" y="${atY(tick)}" class="y">${number(tick)}</text>`,
    )
    .join('');
  const below = x.ticks.map((tick) => `<text x="${atX(tick)}" y="${height - 8}" class="x">${number(tick)}</text>`);
  const paths = lines
    .filter(({ points }) => points.length)
    .map(
      ({ colour, points }) =>
        `<polyline class="c${colour}" points="${points.map(([px, py]) => `${atX(px)},${atY(py)}`).join(' ')}"/>`,
    );
  const legend = lines.map(({ name, colour }) => `<li class="c${colour}">${escapeHtml(name)}</li>`).join('');
  return `<figure><figcaption>${escapeHtml(title)} <small>${escapeHtml(unit)}, by ${escapeHtml(xText)}</small></figcaption>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}">${grid}${below.join('')}${paths.join('')}</svg>
<ul class="legend">${legend}</ul></figure>`;
};

/** The samples of each second, or of a longer time where there would be too many. */
const inSteps = (samples: readonly Sample[], seconds: number) => {
  const step = Math.max(1, Math.ceil(seconds / 120));
  const steps = Array.from({ length: Math.ceil(seconds / step) }, (_, index) => ({
    at: index * step,
    samples: [] as Sample[],
    answered: 0,
  }));
  const stepAt = (milliseconds: number) => steps[Math.floor(milliseconds / 1000 / step)];
  for (const sample of samples) {
    stepAt(sample.scheduled)?.samples.push(sample);
    const answered = stepAt(sample.scheduled + sample.latency);
    if (answered && sample.error === undefined) answered.answered++;
  }
  return { step, steps };
};

const throughput = ({ samples, seconds }: LoadResult): string => {
  const { step, steps } = inSteps(samples, seconds);
  const offered = steps.map(({ at, samples }) => [at, samples.length / step] as const);
  const answered = steps.map(({ at, answered }) => [at, answered / step] as const);
  const failed = steps.map(
    ({ at, samples }) => [at, samples.filter(({ error }) => error !== undefined).length / step] as const,
  );
  const max = Math.max(...[...offered, ...answered].map(([, value]) => value));
  return plot(
    'Throughput',
    'operations per second',
    linear(seconds, innerWidth),
    linear(max, innerHeight),
    [
      { name: 'due', colour: 4, points: offered },
      { name: 'answered', colour: 0, points: answered },
      { name: 'failed', colour: 3, points: failed },
    ],
    'seconds',
  );
};

const latency = ({ samples, seconds }: LoadResult): string => {
  const { steps } = inSteps(samples, seconds);
  const lines = [50, 95, 99].map((percent, colour) => ({
    name: `p${percent}`,
    colour,
    points: steps.flatMap(({ at, samples }) => {
      const sorted = latenciesOf(samples);
      return sorted.length ? [[at, percentile(sorted, percent)] as const] : [];
    }),
  }));
  const all = lines.flatMap(({ points }) => points.map(([, value]) => value));
  const y = logarithmic(Math.min(...all), Math.max(...all), innerHeight);
  return plot('Latency of all', 'milliseconds from when it was due', linear(seconds, innerWidth), y, lines, 'seconds');
};

/** Which share of an operation's answers took longer than how long. */
const distribution = ({ samples, mix }: LoadResult): string => {
  const percents = [...Array.from({ length: 99 }, (_, index) => index + 1), 99.5, 99.9];
  const lines = Object.keys(mix).map((name, colour) => {
    const sorted = latenciesOf(samples.filter(({ operation }) => operation === name));
    return {
      name,
      colour,
      points: sorted.length ? percents.map((percent) => [percent, percentile(sorted, percent)] as const) : [],
    };
  });
  const all = lines.flatMap(({ points }) => points.map(([, value]) => value));
  const y = logarithmic(Math.min(...all), Math.max(...all), innerHeight);
  return plot('Latency by operation', 'milliseconds', linear(100, innerWidth), y, lines, 'percent of the answers');
};

const table = ({ samples, seconds, mix }: LoadResult): string => {
  const row = (name: string, some: readonly Sample[]) => {
    const sorted = latenciesOf(some);
    const errors = some.length - sorted.length;
    const cells = [
      some.length,
      (sorted.length / seconds).toFixed(1),
      ...[50, 95, 99, 100].map((percent) => number(percentile(sorted, percent))),
      errors,
    ];
    return `<tr${errors ? ' class="bad"' : ''}><th scope="row">${escapeHtml(name)}</th>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
  };
  const rows = Object.keys(mix).map((name) =>
    row(
      name,
      samples.filter(({ operation }) => operation === name),
    ),
  );
  const heads = ['Operation', 'Count', 'Each second', 'p50 ms', 'p95 ms', 'p99 ms', 'Longest ms', 'Errors'];
  return `<table><thead><tr>${heads.map((head) => `<th scope="col">${head}</th>`).join('')}</tr></thead>
<tbody>${rows.join('')}</tbody><tfoot>${row('all', samples)}</tfoot></table>`;
};

const failures = ({ samples }: LoadResult): string => {
  const counts = countErrors(samples);
  if (!counts.size) return '';
  return `<h2>Errors</h2><ul>${[...counts].map(([text, count]) => `<li>${count} × ${escapeHtml(text)}</li>`).join('')}</ul>`;
};

const style = `:root{color-scheme:light dark;--line:#d5d9e0;--text:#1c2330;--soft:#5d6778;--page:#fff;--card:#f6f7f9;
--c0:#1f5fd1;--c1:#b25a00;--c2:#7a3fb8;--c3:#c4262e;--c4:#7d8796;--c5:#0c7f6a;--c6:#8a6d00;--c7:#b1307f;--c8:#3b7a1e}
@media(prefers-color-scheme:dark){:root{--line:#353c48;--text:#e8ebf0;--soft:#a2acbb;--page:#14171c;--card:#1c2027;
--c0:#7fabff;--c1:#ffb060;--c2:#c9a0ff;--c3:#ff8087;--c4:#98a3b3;--c5:#55d3b9;--c6:#e0c14a;--c7:#ff93cf;--c8:#97d67a}}
body{margin:0 auto;max-width:760px;padding:24px 16px;background:var(--page);color:var(--text);font:15px/1.5 system-ui,sans-serif}
h1{font-size:22px;margin:0}h2{font-size:17px}p{color:var(--soft);margin:4px 0 20px}figure{margin:0 0 20px;padding:12px;background:var(--card);border-radius:8px}
figcaption{font-weight:600}small{font-weight:400;color:var(--soft)}svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font-size:11px}.y{text-anchor:end;dominant-baseline:middle}.x{text-anchor:middle}.grid{stroke:var(--line)}
@media(max-width:600px){svg{overflow:visible}svg text{font-size:19px}}
polyline{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round}.legend{display:flex;flex-wrap:wrap;gap:4px 16px;list-style:none;margin:4px 0 0;padding:0;font-size:13px}
.legend li::before{content:"";display:inline-block;width:14px;height:3px;margin-right:6px;vertical-align:middle;background:var(--c)}
${Array.from({ length: 9 }, (_, index) => `.c${index}{--c:var(--c${index})}`).join('')}
.wide{overflow-x:auto;margin-bottom:20px}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{padding:4px 8px;text-align:right;white-space:nowrap}
th:first-child{text-align:left}thead th,tbody tr:last-child>*{border-bottom:1px solid var(--line)}thead th{color:var(--soft);font-weight:600;font-size:13px}.bad td:last-child{color:var(--c3);font-weight:600}`;

/** @param now when the load was made */
export const toHtml = (result: LoadResult, now = new Date()): string => {
  const { rate, seconds, samples } = result;
  const errors = samples.filter(({ error }) => error !== undefined).length;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Load test</title>
<style>${style}</style></head><body>
<h1>Load test</h1>
<p>${rate} operations per second for ${seconds} s, ${now.toISOString().slice(0, 16).replace('T', ' ')} UTC. ${samples.length} were sent, ${errors} failed. Times count from when each was due.</p>
<div class="wide">${table(result)}</div>
${throughput(result)}
${latency(result)}
${distribution(result)}
${failures(result)}
</body></html>
`;
};
