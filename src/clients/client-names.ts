/** Names that pass for another: what people read is not what computers compare. */

/** Letters of other scripts, and digits, that look like one of the Latin alphabet; whatever looks alike is one of them. */
const lookalikes: Readonly<Record<string, string>> = {
  a: 'аАαΑɑ',
  b: 'ВвЬьβΒ',
  c: 'сСϲςϹ',
  d: 'ԁ',
  e: 'еЕεΕэ',
  f: 'ϝϜ',
  g: 'ɡց',
  h: 'һНнΗհ',
  i: 'іІӏӀιΙıl1|',
  j: 'јЈϳ',
  k: 'кКκΚ',
  m: 'мМΜ',
  n: 'ηΝпո',
  o: 'оОοΟσ0օ',
  p: 'рРρΡ',
  q: 'ԛ',
  r: 'гᴦ',
  s: 'ѕЅ',
  t: 'тТτΤ',
  u: 'υս',
  v: 'νѵѴ',
  w: 'ѡԝω',
  x: 'хХχΧ',
  y: 'уУΥγүҮ',
  z: 'Ζᴢ',
};
const latinOf = new Map(
  Object.entries(lookalikes).flatMap(([latin, others]) => [...others].map((one) => [one, latin])),
);

/** A name as it looks: whatever is written differently and read the same is the same. */
const asRead = (name: string): string => {
  const letters = name.normalize('NFKD').replace(/[\p{M}\p{Default_Ignorable_Code_Point}]/gu, '');
  // Before and after lower case: a capital of another script may look like another Latin letter than its small one.
  const latin = (text: string) => Array.from(text, (letter) => latinOf.get(letter) ?? letter).join('');
  return latin(latin(letters).toLowerCase()).replace(/\s+/g, ' ').trim();
};

/** Marks around a name change nothing of whose it is, unless it consists of them. */
const bare = (name: string): string => asRead(name).replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, '') || asRead(name);

interface Named {
  client_name?: string | undefined;
}

/** Whether an application would pass for the service itself, which asks people for their passwords. */
export const isNamedAs = (brand: string, { client_name: name }: Named): boolean =>
  name !== undefined && bare(name) === bare(brand);

/** The same of one that would pass for a part of the service: its name is the brand's, or begins with it. */
export const isNamedAfter = (brand: string, { client_name: name = '' }: Named): boolean => {
  const [own, other] = [bare(brand), bare(name)];
  return other.startsWith(own) && !/^[\p{L}\p{N}]/u.test(other.slice(own.length));
};
