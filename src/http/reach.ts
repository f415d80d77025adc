/** How far a permission of a caller goes: what lists put into their queries, so that a page is full and nothing is filtered after. */
import type { Permission } from '../roles/permissions.ts';
import { type Caller, decideFor } from './caller.ts';

export interface Reach {
  /** To things of every organization and of none, but for `except`. */
  everywhere: boolean;
  /** Else to what lies in these organizations and beneath them, but for `except`. */
  organizations: string[];
  /** Not to what lies in these organizations or beneath them, where it is denied. */
  except: string[];
  /** To the caller's own things. */
  own: boolean;
}

/** How far the caller gets with a permission, whatever scope is named: all those that they have are looked at. */
export const reachOf = (caller: Caller, permission: Permission): Reach => {
  const [type, action] = permission.split(':');
  const decide = (scope: string, target: Parameters<typeof decideFor>[2] = {}) =>
    decideFor(caller, `${type}:${action}:${scope}`, target);
  const everywhere = decide('any').allowed;
  const inEach = (caller.organizations ?? []).map(({ id }) => ({
    id,
    ...decide('organization', { organizations: [[id]] }),
  }));
  return {
    everywhere,
    organizations: inEach.filter(({ allowed }) => allowed).map(({ id }) => id),
    except: inEach
      .filter(({ because: { rule } }) => rule === 'denial' || rule === 'policy')
      .flatMap(({ allowed, id }) => (allowed ? [] : [id])),
    own: decide('own').allowed,
  };
};

/** Whether the caller gets anywhere at all; their own things count where the permission named is one for those. */
export const reachesAnything = (caller: Caller, permission: Permission): boolean => {
  const { everywhere, organizations, own } = reachOf(caller, permission);
  return everywhere || organizations.length > 0 || (own && permission.endsWith(':own'));
};
