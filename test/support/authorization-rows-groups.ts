/** Groups, teams and business domains in the matrix; see `authorization-matrix.ts`. */
import { v7 as uuid } from 'uuid';
import {
  type Listing,
  type Matrix,
  onList,
  only,
  type Place,
  type Row,
  type Table,
  table,
} from './authorization-matrix.ts';
import { addMember, makeGroup } from './organizations.ts';

type Kind = 'group' | 'team';

/** A group is seen by those in it, and by those who look after groups where it is. */
const seenGroup = table(`
                                          A    child  sibling  parent  B    none
  nobody                                  401  401    401      401     401  401
  stranger, user of A                     404  404    404      404     404  404
  manager of A, owner of A, key           ok   ok     404      404     404  404
  everything in A                         ok   ok     404      404     404  404
  manager of child                        404  ok     404      404     404  404
  manager of sibling                      404  404    ok       404     404  404
  manager of parent                       ok   ok     ok       ok      404  404
  manager of B                            404  404    404      404     ok   404
  moderator, admin, super_admin, machine  ok   ok     ok       ok      ok   ok
`);
/** A team besides by everybody in its organization, and by all when it is of none. */
const seenTeam = table(`
                                          A    child  sibling  parent  B    none
  nobody                                  401  401    401      401     401  401
  stranger                                404  404    404      404     404  ok
  user of A                               ok   404    404      404     404  ok
  manager of A, owner of A, key           ok   ok     404      404     404  ok
  everything in A                         ok   ok     404      404     404  ok
  manager of child                        404  ok     404      404     404  ok
  manager of sibling                      404  404    ok       404     404  ok
  manager of parent                       ok   ok     ok       ok      404  ok
  manager of B                            404  404    404      404     ok   ok
  moderator, admin, super_admin, machine  ok   ok     ok       ok      ok   ok
`);
const listedAll = table(`
                                          A    child  sibling  parent  B    none
  nobody                                  401  401    401      401     401  401
  stranger, user of A                     403  403    403      403     403  403
  manager of A, owner of A, key           ok   ok     -        -       -    -
  everything in A                         ok   ok     -        -       -    -
  manager of child                        -    ok     -        -       -    -
  manager of sibling                      -    -      ok       -       -    -
  manager of parent                       ok   ok     ok       ok      -    -
  manager of B                            -    -      -        -       ok   -
  moderator, admin, super_admin, machine  ok   ok     ok       ok      ok   ok
`);
const changedGroup = table(`
                                          A    child  sibling  parent  B    none
  nobody                                  401  401    401      401     401  401
  stranger, user of A                     403  403    403      403     403  403
  manager of A, owner of A, key           ok   ok     404      404     404  404
  everything in A                         ok   ok     404      404     404  404
  manager of child                        404  ok     404      404     404  404
  manager of sibling                      404  404    ok       404     404  404
  manager of parent                       ok   ok     ok       ok      404  404
  manager of B                            404  404    404      404     ok   404
  moderator                               403  403    403      403     403  403
  admin, super_admin, machine             ok   ok     ok       ok      ok   ok
`);
const made = table(`
                                          A    child  sibling  parent  B    none
  nobody                                  401  401    401      401     401  401
  stranger, user of A                     403  403    403      403     403  403
  manager of A, owner of A, key           ok   ok     404      404     404  403
  everything in A                         ok   ok     404      404     404  403
  manager of child                        404  ok     404      404     404  403
  manager of sibling                      404  404    ok       404     404  403
  manager of parent                       ok   ok     ok       ok      404  403
  manager of B                            404  404    404      404     ok   403
  moderator                               403  403    403      403     403  403
  admin, super_admin, machine             ok   ok     ok       ok      ok   ok
`);
/** Of the groups that somebody is in who belongs to A, its child and B, each sees those that lie in theirs. */
const ofBoth = table(`
                                          A    child  B    none
  nobody                                  401  401    401  401
  stranger, user of A                     403  403    403  403
  manager of A, owner of A, key           ok   ok     -    -
  everything in A                         ok   ok     -    -
  manager of child                        -    ok     -    -
  manager of sibling                      403  403    403  403
  manager of parent                       ok   ok     -    -
  manager of B                            -    -      ok   -
  moderator, admin, super_admin, machine  ok   ok     ok   ok
`);
/** Who is in a team is for those who are, and those who look after it. */
const membersOfTeam = table(`
                                          A    child  sibling  parent  B    none
  nobody                                  401  401    401      401     401  401
  stranger                                404  404    404      404     404  403
  user of A                               403  404    404      404     404  403
  manager of A, owner of A, key           ok   ok     404      404     404  403
  everything in A                         ok   ok     404      404     404  403
  manager of child                        404  ok     404      404     404  403
  manager of sibling                      404  404    ok       404     404  403
  manager of parent                       ok   ok     ok       ok      404  403
  manager of B                            404  404    404      404     ok   403
  moderator, admin, super_admin, machine  ok   ok     ok       ok      ok   ok
`);

const groupOf = async (matrix: Matrix, place: Place, kind: Kind, members: readonly string[] = [], name?: string) =>
  makeGroup(matrix.world.server, {
    kind,
    organizationId: matrix.organizationOf(place),
    members,
    ...(name ? { name } : {}),
  });
/** A group with somebody in it, who belongs to its organization. */
const joined = async (matrix: Matrix, place: Place, kind: Kind) => {
  const { id: userId } = await matrix.accountIn(place);
  return { userId, id: (await groupOf(matrix, place, kind, [userId])).id };
};

const kindRows = (kind: Kind): Record<string, Row> => {
  const Name = kind === 'team' ? 'Team' : 'Group';
  const seen = kind === 'team' ? seenTeam : seenGroup;
  /** What is seen and not for them to change, is refused as such. */
  const changed = Object.fromEntries(
    Object.entries(changedGroup).map(([subject, cells]) => [
      subject,
      { ...cells, none: kind === 'team' && cells.none === '404' ? '403' : cells.none },
    ]),
  ) as Table;
  /** The other kind has all places. */
  const some = (expected: Table) => (kind === 'team' ? only(expected, 'A', 'child', 'B', 'none') : expected);
  const group = async (matrix: Matrix, place: Place) => ({ params: { id: (await groupOf(matrix, place, kind)).id } });
  const prefix = `Listed${Name}`;
  const inBoth: { id?: string } = {};
  return {
    [`list${Name}s`]: {
      table: onList(seen),
      listed: async (matrix, place) => (await groupOf(matrix, place, kind, [], `${prefix} ${uuid()}`)).id,
      attempt: () => ({ query: { q: prefix } }),
    } satisfies Listing,
    [`get${Name}`]: { table: seen, attempt: group },
    [`create${Name}`]: {
      table: some(made),
      attempt: (matrix, place) => ({ body: { name: 'New', organizationId: matrix.organizationOf(place) ?? null } }),
    },
    [`update${Name}`]: {
      table: some(changed),
      attempt: async (matrix, place) => ({ ...(await group(matrix, place)), body: { name: `New ${uuid()}` } }),
    },
    [`delete${Name}`]: { table: some(changed), attempt: group },
    [`list${Name}Members`]: { table: kind === 'team' ? membersOfTeam : seen, attempt: group },
    [`add${Name}Member`]: {
      table: some(changed),
      attempt: async (matrix, place) => ({
        ...(await group(matrix, place)),
        body: { userId: (await matrix.accountIn(place)).id },
      }),
    },
    [`remove${Name}Member`]: {
      table: some(changed),
      attempt: async (matrix, place) => ({ params: await joined(matrix, place, kind) }),
    },
    [`listUser${Name}s`]: {
      table: ofBoth,
      listed: async (matrix, place) => {
        inBoth.id ??= (await matrix.accountIn('A+B')).id;
        const organizationId = matrix.organizationOf(place);
        if (organizationId) await addMember(matrix.world.server, organizationId, inBoth.id);
        return (await groupOf(matrix, place, kind, [inBoth.id])).id;
      },
      attempt: () => ({ params: { id: inBoth.id as string } }),
    } satisfies Listing,
  };
};

export const groupRows: Record<string, Row> = {
  ...kindRows('group'),
  ...kindRows('team'),
  listAllTeams: {
    table: listedAll,
    listed: async (matrix, place) => (await groupOf(matrix, place, 'team', [], `ListedAll ${uuid()}`)).id,
    attempt: () => ({ query: { q: 'ListedAll' } }),
  },
  ...Object.fromEntries(
    [
      ...['listDomains', 'listAllDomains', 'getDomain', 'createDomain', 'updateDomain', 'deleteDomain'],
      ...['listDomainUsers', 'addDomainUser', 'removeDomainUser', 'listUserDomains', 'assignDomains'],
    ].map((id) => [id, 'none' as const]),
  ),
};
