/** Other names of REST routes, kept for the clients of older services. There is no second handler and no second schema. */

/** From, to. A `*` stands for the rest of the path. */
export const aliases = [
  ['/v1/register', '/auth/register'],
  ['/v1/login', '/auth/login'],
  ['/v1/logout', '/auth/logout'],
  ['/v1/token/refresh', '/auth/refresh'],
  ['/v1/otp/*', '/auth/otp/*'],
  ['/v1/mfa/verify', '/auth/mfa/verify'],
  ['/v1/user/activity', '/auth/me/activity'],
  ['/v1/verify-token', '/auth/validate'],
  ['/auth/validate-token', '/auth/validate'],
  ['/identity/users', '/users'],
  ['/identity/users/*', '/users/*'],
  ['/roles', '/rbac/roles'],
  ['/healthz', '/health/live'],
  ['/readyz', '/health/ready'],
  // Last: everything again under /api/v1, the names above included.
  ['/api/v1/*', '/*'],
] as const;

const exact = new Map<string, string>(aliases.filter(([from]) => !from.endsWith('*')));
const prefixes = aliases
  .filter(([from]) => from.endsWith('*'))
  .map(([from, to]) => [from.slice(0, -1), to.slice(0, -1)] as const);

/** The path that a request for `path` is answered as. */
export const canonicalPath = (path: string): string => {
  const plain = path.startsWith('/api/v1/') ? path.slice('/api/v1'.length) : path;
  const same = exact.get(plain);
  if (same) return same;
  const prefix = prefixes.find(([from]) => from !== '/api/v1/' && plain.startsWith(from));
  return prefix ? prefix[1] + plain.slice(prefix[0].length) : plain;
};

/** The other names of a route's path, for the documentation; without those under /api/v1, which every route has. */
export const aliasesOf = (path: string): string[] => [
  ...[...exact].filter(([, to]) => to === path).map(([from]) => from),
  ...prefixes
    .filter(([from, to]) => from !== '/api/v1/' && path.startsWith(to))
    .map(([from, to]) => from + path.slice(to.length)),
];
