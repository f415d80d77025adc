/** QR codes as inline SVG: no script, no image file, and sharp at any size. */

/** A code that is drawn dark on light: `path` on a square of `size`, the quiet zone included. */
export interface QrCode {
  size: number;
  path: string;
}

/** The light zone around it, in modules: without it cameras do not find the code (ISO/IEC 18004). */
const quiet = 4;

export const qrCode = async (text: string): Promise<QrCode> => {
  // Loaded when somebody sets up an app: hardly any process ever draws one.
  const { create } = await import('qrcode');
  const { modules } = create(text, { errorCorrectionLevel: 'M' });
  const runs: string[] = [];
  for (let row = 0; row < modules.size; row++)
    for (let from = 0, column = 0; column <= modules.size; column++) {
      if (column < modules.size && modules.get(row, column)) continue;
      const length = column - from;
      if (length) runs.push(`M${from + quiet} ${row + quiet}h${length}v1h-${length}z`);
      from = column + 1;
    }
  return { size: modules.size + 2 * quiet, path: runs.join('') };
};

/** The same as a picture of its own. */
export const qrSvg = ({ size, path }: QrCode): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h${size}v${size}H0z"/><path d="${path}"/></svg>`;
