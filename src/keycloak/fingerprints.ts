/** What tells whether somebody has changed in Keycloak since they were brought over: a keyed hash of all that came with them. */
import type { Secrets } from '../secrets.ts';
import type { PlannedUser } from './users.ts';

/** Of fingerprints since the roles of groups are given to groups. */
export const mark = '2.';

/** What the groups give is not the user's own. */
export const fingerprintOf = (secrets: Secrets, { groupRoles: _given, ...user }: PlannedUser) =>
  mark + secrets.mac('external-reference', JSON.stringify(user));

/** As an earlier version made it, of somebody who was given the roles of their groups themselves. */
const earlierFingerprint = (secrets: Secrets, { groupRoles, ...user }: PlannedUser) =>
  secrets.mac('external-reference', JSON.stringify({ ...user, roles: [...new Set([...user.roles, ...groupRoles])] }));

/** Whether nothing about them has changed since. */
export const isUnchanged = (secrets: Secrets, user: PlannedUser, known: string | undefined): boolean =>
  known !== undefined &&
  known === (known.startsWith(mark) ? fingerprintOf(secrets, user) : earlierFingerprint(secrets, user));

/** Keys of the roles that their groups alone give them. */
export const onlyByGroups = ({ roles, groupRoles }: PlannedUser) => groupRoles.filter((key) => !roles.includes(key));
