/** Authorization details in words: a sentence of the operator's, and every member, so that nothing is agreed to unseen. */

/** How deep a member may lie. */
const depthMax = 5;

/** A member by its path, as a page shows it. */
export interface Member {
  name: string;
  value: string;
}

/** @returns every member but the type; undefined when one lies too deep to be shown */
export const readMembers = (detail: object): Member[] | undefined => {
  const members: Member[] = [];
  let tooDeep = false;
  const read = (value: unknown, path: string[]): void => {
    if (path.length > depthMax) tooDeep = true;
    else if (typeof value === 'object' && value !== null && Object.keys(value).length)
      for (const [name, one] of Object.entries(value))
        read(one, Array.isArray(value) ? path.concat(String(Number(name) + 1)) : path.concat(name));
    // What holds nothing is a member all the same.
    else
      members.push({ name: path.join('.'), value: typeof value === 'object' ? JSON.stringify(value) : String(value) });
  };
  for (const [name, value] of Object.entries(detail)) if (name !== 'type') read(value, [name]);
  return tooDeep ? undefined : members;
};

/** Fills `{a.b}` in with the detail's members; one that is not there is left out. */
export const fillIn = (template: string, detail: object): string =>
  template
    .replace(/\{([\w.]+)\}/g, (_, path: string) => {
      const value = path
        .split('.')
        .reduce<unknown>(
          (at, name) => (Object.hasOwn(Object(at), name) ? (at as Record<string, unknown>)[name] : undefined),
          detail,
        );
      // Isolated, so that its direction does not reach into the sentence (Unicode UAX 9).
      return value === undefined || typeof value === 'object' ? '' : `\u2068${String(value)}\u2069`;
    })
    .replace(/\s+/g, ' ')
    .trim();

/** The text for a language, its primary language, or English. */
export const inLanguage = (texts: Readonly<Record<string, string>>, locale: string): string =>
  texts[locale] ?? texts[locale.split('-')[0] ?? ''] ?? texts.en ?? '';
