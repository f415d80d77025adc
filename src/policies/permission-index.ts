/**
 * Lists of permissions as decisions look them up: in time that does not grow with how much is held. An index is made when a list is
 * first asked about and goes with it; lists are never changed.
 */
import { partsOf, permissionPart } from '../roles/permissions.ts';

/** The scopes of a permission, as bits. */
const scopeBit = { own: 1, organization: 2, any: 4 } as const;
export type Scope = keyof typeof scopeBit;

/** A wider scope includes the narrower. */
const allowed: Readonly<Record<string, number>> = { own: 1, organization: 3, any: 7, '*': 7 };
/** A denial is of its own scope alone. */
const denied: Readonly<Record<string, number>> = { own: 1, organization: 2, any: 4, '*': 7 };
/** How far the bits of denials are from those of what is allowed. */
const denialShift = 3;

/** Names are few and come again and again; so many are remembered. */
const rememberedMax = 5000;

/** An action on a type of resource, as it is looked up. */
export interface Asked {
  key: string;
  /** The wildcards that include it, the most particular first. */
  wildKeys: readonly string[];
  /** For each way to stand to the thing an object that stands for it, where answers are remembered. */
  standings: object[];
}
const asked = new Map<string, Map<string, Asked>>();
let askedCount = 0;

/** What is asked about; the same object again and again, unless very many are asked for. */
export const askedOf = (type: string, action: string): Asked => {
  const known = asked.get(type)?.get(action);
  if (known) return known;
  if (++askedCount > rememberedMax) {
    asked.clear();
    askedCount = 1;
  }
  // Wildcards stand for what can be part of a permission, and for nothing else.
  const wildKeys = permissionPart.test(type) && permissionPart.test(action) ? [`${type}:*`, `*:${action}`, '*:*'] : [];
  const one: Asked = { key: `${type}:${action}`, wildKeys, standings: [] };
  const ofType = asked.get(type) ?? new Map<string, Asked>();
  asked.set(type, ofType.set(action, one));
  return one;
};

interface Parsed {
  /** Its resource and action: `users:read`. */
  key: string;
  scope: string;
  isWild: boolean;
}
const parsed = new Map<string, Parsed | undefined>();

/** A permission taken apart; undefined for what is none. */
const parse = (name: string): Parsed | undefined => {
  if (parsed.has(name)) return parsed.get(name);
  const parts = partsOf(name);
  const one = parts && {
    // The very text that is looked up: to compare it with itself takes no time.
    key: askedOf(parts[0], parts[1]).key,
    scope: parts[2],
    isWild: parts[0] === '*' || parts[1] === '*',
  };
  if (parsed.size >= rememberedMax) parsed.clear();
  parsed.set(name, one);
  return one;
};

/** What a list of permissions says about an action on a type of resource: bits of scopes, for `isAllowed` and `isDenied`. */
export type Said = number;

interface Index {
  said: Map<string, Said>;
  hasWild: boolean;
}
const indexes = new WeakMap<readonly string[], Index>();

const makeIndex = (held: readonly string[]): Index => {
  const index: Index = { said: new Map(), hasWild: false };
  for (const name of held) {
    const isDenial = name.startsWith('!');
    const one = parse(isDenial ? name.slice(1) : name);
    if (!one) continue;
    const bits = isDenial ? (denied[one.scope] as number) << denialShift : (allowed[one.scope] as number);
    index.said.set(one.key, (index.said.get(one.key) ?? 0) | bits);
    index.hasWild ||= one.isWild;
  }
  indexes.set(held, index);
  return index;
};

/** The same as `allows` and `denies` of permissions.ts would say. */
export const saidBy = (held: readonly string[], { key, wildKeys }: Asked): Said => {
  if (!held.length) return 0;
  const index = indexes.get(held) ?? makeIndex(held);
  let said = index.said.get(key) ?? 0;
  if (index.hasWild) for (const wild of wildKeys) said |= index.said.get(wild) ?? 0;
  return said;
};

export const isAllowed = (said: Said, scope: Scope): boolean => (said & scopeBit[scope]) !== 0;
export const isDenied = (said: Said, scope: Scope): boolean => ((said >> denialShift) & scopeBit[scope]) !== 0;

/** The resource and action that a permission is about, where it gives or denies something in that scope. */
export const keyIn = (permission: string, effect: 'allow' | 'deny', scope: Scope): string | undefined => {
  const one = parse(permission);
  const bits = one && (effect === 'deny' ? denied : allowed)[one.scope];
  return bits && bits & scopeBit[scope] ? one.key : undefined;
};
