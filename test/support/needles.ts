/** Looks for secrets in text, also when they hide in an encoding. */

/** What base64 makes of the value wherever it starts within its three-byte groups, without the edges it shares. */
const encoded = (value: Buffer, encoding: 'base64' | 'base64url'): string[] =>
  [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), value])
      .toString(encoding)
      .replaceAll('=', '');
    const whole = Math.floor(((offset + value.length) * 8) / 6);
    return text.slice(Math.ceil((offset * 8) / 6), whole);
  });

/** The forms in which a value could be read from a text. */
const formsOf = (value: string): string[] => {
  const bytes = Buffer.from(value);
  const forms = [value, JSON.stringify(value).slice(1, -1), bytes.toString('hex')];
  forms.push(...encoded(bytes, 'base64'), ...encoded(bytes, 'base64url'));
  // A value that is an encoding itself could have been stored as the bytes it stands for.
  if (/^[\w-]{20,}$/.test(value)) {
    const inner = Buffer.from(value, 'base64url');
    forms.push(inner.toString('hex'), ...encoded(inner, 'base64'));
  }
  return [...new Set(forms)];
};

/** No secret is shorter. */
const lengthMin = 8;

/** Names of the secrets that are in the text letter by letter: in one pass over it, however many there are. */
export const findPlainSecrets = (text: string, secrets: ReadonlyMap<string, string>): string[] => {
  const byBeginning = new Map<string, [value: string, name: string][]>();
  for (const [value, name] of secrets) {
    if (value.length < lengthMin) throw new Error(`${name} is too short to be looked for`);
    const beginning = value.slice(0, lengthMin);
    byBeginning.set(beginning, [...(byBeginning.get(beginning) ?? []), [value, name]]);
  }
  const found = new Set<string>();
  for (let at = 0; at <= text.length - lengthMin; at++) {
    for (const [value, name] of byBeginning.get(text.slice(at, at + lengthMin)) ?? [])
      if (text.startsWith(value, at)) found.add(name);
  }
  return [...found];
};

/** Names of the secrets that a text gives away, and in what form. */
export const findSecrets = (text: string, secrets: ReadonlyMap<string, string>): string[] => {
  const lower = text.toLowerCase();
  return [...secrets].flatMap(([value, name]) => {
    if (value.length < lengthMin) throw new Error(`${name} is too short to be looked for`);
    const form = formsOf(value).find((form) => (/^[0-9a-f]+$/.test(form) ? lower.includes(form) : text.includes(form)));
    return form === undefined ? [] : [`${name}, as ${form}`];
  });
};
