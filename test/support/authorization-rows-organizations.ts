/** Organizations, companies, their people, invitations and mail domains in the matrix; see `authorization-matrix.ts`. */
import { v7 as uuid } from 'uuid';
import { hashToken } from '../../src/secrets.ts';
import {
  except,
  type Listing,
  type Matrix,
  onList,
  only,
  type Place,
  type Row,
  type Single,
  type Table,
  table,
} from './authorization-matrix.ts';
import { addMember, makeOrganization } from './organizations.ts';

/** The organization of the place itself: whoever belongs to it sees it as well. */
const seen = table(`
                                          A    child  sibling  parent  B
  nobody                                  401  401    401      401     401
  stranger                                404  404    404      404     404
  user of A                               ok   404    404      404     404
  manager of A, owner of A, key           ok   ok     404      404     404
  everything in A                         ok   ok     404      404     404
  manager of child                        404  ok     404      404     404
  manager of sibling                      404  404    ok       404     404
  manager of parent                       ok   ok     ok       ok      404
  manager of B                            404  404    404      404     ok
  moderator, admin, super_admin, machine  ok   ok     ok       ok      ok
`);
/** One that lies beneath the organization of the place, and that nobody belongs to. */
const seenBeneath = table(`
                                          A    child  sibling  parent  B
  nobody                                  401  401    401      401     401
  stranger, user of A                     404  404    404      404     404
  manager of A, owner of A, key           ok   ok     404      404     404
  everything in A                         ok   ok     404      404     404
  manager of child                        404  ok     404      404     404
  manager of sibling                      404  404    ok       404     404
  manager of parent                       ok   ok     ok       ok      404
  manager of B                            404  404    404      404     ok
  moderator, admin, super_admin, machine  ok   ok     ok       ok      ok
`);
/** Who belongs to it is for those who look after it. */
const looked = table(`
                                          A    child  sibling  parent  B
  nobody                                  401  401    401      401     401
  stranger, user of A                     403  403    403      403     403
  manager of A, owner of A, key           ok   ok     404      404     404
  everything in A                         ok   ok     404      404     404
  manager of child                        404  ok     404      404     404
  manager of sibling                      404  404    ok       404     404
  manager of parent                       ok   ok     ok       ok      404
  manager of B                            404  404    404      404     ok
  moderator, admin, super_admin, machine  ok   ok     ok       ok      ok
`);
const changed = table(`
                                          A    child  sibling  parent  B
  nobody                                  401  401    401      401     401
  stranger, user of A                     403  403    403      403     403
  manager of A, owner of A, key           ok   ok     404      404     404
  everything in A                         ok   ok     404      404     404
  manager of child                        404  ok     404      404     404
  manager of sibling                      404  404    ok       404     404
  manager of parent                       ok   ok     ok       ok      404
  manager of B                            404  404    404      404     ok
  moderator                               403  403    403      403     403
  admin, super_admin, machine             ok   ok     ok       ok      ok
`);
/** What owners do alone, and those who own one above. */
const owned = table(`
                                          A    child  sibling  parent  B
  nobody                                  401  401    401      401     401
  stranger, user of A                     403  403    403      403     403
  manager of A, key                       403  403    404      404     404
  owner of A                              ok   ok     404      404     404
  everything in A                         403  403    404      404     404
  manager of child                        404  403    404      404     404
  manager of sibling                      404  404    403      404     404
  manager of parent                       403  403    403      403     404
  manager of B                            404  404    404      404     403
  moderator                               403  403    403      403     403
  admin, super_admin, machine             ok   ok     ok       ok      ok
`);
/** To give or take what owners hold takes leave to do so besides: a machine that may write organizations has none. */
const handedOn = except(owned, 'machine', '403');
/** What is new lies beneath the organization of the place, or beneath none. */
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
/** Who comes into A, from the organization of the place: it takes power over them already. */
const takenIn = table(`
                                          child  sibling  parent  B    none
  nobody                                  401    401      401     401  401
  stranger, user of A                     403    403      403     403  403
  manager of A, owner of A, key           ok     403      403     403  403
  everything in A                         ok     403      403     403  403
  manager of child                        404    404      404     404  404
  manager of sibling                      404    404      404     404  404
  manager of parent                       ok     ok       ok      403  403
  manager of B                            404    404      404     404  404
  moderator                               403    403      403     403  403
  admin, super_admin                      ok     ok       ok      ok   ok
  machine                                 403    403      403     403  403
`);
/** Likewise, but whoever has no power over them is told nothing of A. */
const intoCompany = table(`
                                          child  sibling  parent  B    none
  nobody                                  401    401      401     401  401
  stranger, user of A, moderator          403    403      403     403  403
  manager of A, owner of A, key           ok     403      403     403  403
  everything in A                         ok     403      403     403  403
  manager of child                        404    403      403     403  403
  manager of sibling                      403    404      403     403  403
  manager of parent                       ok     ok       ok      403  403
  manager of B                            403    403      403     404  403
  admin, super_admin                      ok     ok       ok      ok   ok
  machine                                 404    404      404     404  404
`);
/** A thing of the place by the path of A, where it is not. */
const misled = table(`
                                          child  sibling  parent  B
  nobody                                  401    401      401     401
  stranger, user of A, moderator          403    403      403     403
  manager of A, owner of A, key           404    404      404     404
  everything in A, manager of parent      404    404      404     404
  manager of child, manager of sibling    404    404      404     404
  manager of B                            404    404      404     404
  admin, super_admin, machine             404    404      404     404
`);

const id = (matrix: Matrix, place: Place) => matrix.organizationOf(place) as string;
const itself = (matrix: Matrix, place: Place) => ({ params: { id: id(matrix, place) } });
const beneath = async (matrix: Matrix, place: Place, kind: 'organization' | 'company' = 'company', name?: string) =>
  makeOrganization(matrix.world.server, { kind, parentId: id(matrix, place), ...(name ? { name } : {}) });
const newBeneath = async (matrix: Matrix, place: Place) => ({ params: { id: (await beneath(matrix, place)).id } });

/** Organizations have members, companies have users: the same operations under two names. */
interface Face {
  one: 'Organization' | 'Company';
  many: 'Organizations' | 'Companies';
  people: 'Member' | 'User';
}
const faces: readonly Face[] = [
  { one: 'Organization', many: 'Organizations', people: 'Member' },
  { one: 'Company', many: 'Companies', people: 'User' },
];

/** A company beneath the place with somebody in it, who belongs to nothing else unless told otherwise. */
const peopled = async (matrix: Matrix, place: Place, isOwner = false) => {
  const { server } = matrix.world;
  const { id } = await beneath(matrix, place);
  const [one, other] = [await matrix.world.account(), await matrix.world.account()];
  await addMember(server, id, one.id, { isOwner });
  // Somebody else owns it, so that nobody is the last.
  await addMember(server, id, other.id, { isOwner: true });
  return { id, userId: one.id };
};

/** Companies are the same operations as organizations under another name: it is enough to see that they judge. */
const fewer = (rows: Record<string, Row>): Record<string, Row> =>
  Object.fromEntries(
    Object.entries(rows).map(([id, row]) => [
      id,
      row === 'none'
        ? row
        : [row].flat().map((one: Single | Listing) => ({ ...one, table: only(one.table, 'A', 'child', 'B') })),
    ]),
  );

const facesOf = ({ one, many, people }: Face): Record<string, Row> => ({
  [`list${many}`]: {
    table: onList(seenBeneath),
    listed: async (matrix, place) => (await beneath(matrix, place, 'company', `Listed${one} ${uuid()}`)).id,
    attempt: () => ({ query: { q: `Listed${one}` } }),
  } satisfies Listing,
  [`get${one}`]: [
    { title: 'beneath', table: seenBeneath, attempt: newBeneath },
    ...(one === 'Organization' ? [{ table: seen, attempt: itself }] : []),
  ] satisfies Single[],
  [`create${one}`]: {
    table: made,
    attempt: (matrix, place) => ({ body: { name: 'New', parentId: matrix.organizationOf(place) ?? null } }),
  },
  [`change${one}`]: [
    {
      table: changed,
      attempt: async (matrix, place) => ({
        ...(await newBeneath(matrix, place)),
        body: { description: `x ${uuid()}` },
      }),
    },
    {
      title: 'moved there out of A',
      table: table(`
                                          child  sibling  parent  B    none
        nobody                                  401    401      401     401  401
        stranger, user of A                     403    403      403     403  403
        manager of A, owner of A, key           ok     404      404     404  403
        everything in A                         ok     404      404     404  403
        manager of child                        404    404      404     404  404
        manager of sibling                      404    404      404     404  404
        manager of parent                       ok     ok       ok      404  403
        manager of B                            404    404      404     404  404
        moderator                               403    403      403     403  403
        admin, super_admin, machine             ok     ok       ok      ok   ok
      `),
      attempt: async (matrix, place) => ({
        ...(await newBeneath(matrix, 'A')),
        body: { parentId: matrix.organizationOf(place) ?? null },
      }),
    },
    {
      title: 'moved from there into A',
      table: table(`
                                          child  sibling  parent  B
        nobody                                  401    401      401     401
        stranger, user of A                     403    403      403     403
        manager of A, owner of A, key           ok     404      404     404
        everything in A                         ok     404      404     404
        manager of child                        404    404      404     404
        manager of sibling                      404    404      404     404
        manager of parent                       ok     ok       ok      404
        manager of B                            404    404      404     404
        moderator                               403    403      403     403
        admin, super_admin, machine             ok     ok       ok      ok
      `),
      attempt: async (matrix, place) => ({ ...(await newBeneath(matrix, place)), body: { parentId: matrix.a.self } }),
    },
  ],
  [`delete${one}`]: { table: changed, attempt: newBeneath },
  [`list${one}${people}s`]: {
    table: looked,
    attempt: async (matrix, place) => (one === 'Company' ? newBeneath(matrix, place) : itself(matrix, place)),
  },
  [`add${one}${people}`]: {
    table: takenIn,
    attempt: async (matrix, place) => ({
      ...(await newBeneath(matrix, 'A')),
      body: { userId: (await matrix.accountIn(place)).id },
    }),
  },
  [`leave${one}`]: 'none',
  [`change${one}${people}`]: [
    {
      table: handedOn,
      attempt: async (matrix, place) => ({ params: { ...(await peopled(matrix, place)) }, body: { isOwner: true } }),
    },
    {
      title: 'by way of A',
      table: misled,
      attempt: async (matrix, place) => {
        const { userId } = await peopled(matrix, place);
        return { params: { id: (await beneath(matrix, 'A')).id, userId }, body: { isOwner: true } };
      },
    },
  ],
  [`remove${one}${people}`]: [
    { table: changed, attempt: async (matrix, place) => ({ params: { ...(await peopled(matrix, place)) } }) },
    {
      title: 'an owner',
      table: handedOn,
      attempt: async (matrix, place) => ({ params: { ...(await peopled(matrix, place, true)) } }),
    },
  ],
  [`list${one}Owners`]: {
    table: one === 'Company' ? seenBeneath : seen,
    attempt: async (matrix, place) => (one === 'Company' ? newBeneath(matrix, place) : itself(matrix, place)),
  },
  [`add${one}Owner`]: {
    table: handedOn,
    attempt: async (matrix, place) => {
      const { id, userId } = await peopled(matrix, place);
      return { params: { id }, body: { userId } };
    },
  },
  [`remove${one}Owner`]: {
    table: handedOn,
    attempt: async (matrix, place) => ({ params: { ...(await peopled(matrix, place, true)) } }),
  },
});

/** Something of an organization, found by a path through it: as it is, and by way of another organization. */
const partOf = (
  name: string,
  make: (matrix: Matrix, organizationId: string) => Promise<string>,
  expected: Table,
  body?: Record<string, unknown>,
): Single[] => [
  {
    table: expected,
    attempt: async (matrix, place) => {
      const { id } = await beneath(matrix, place);
      return { params: { id, [name]: await make(matrix, id) }, ...(body ? { body } : {}) };
    },
  },
  {
    title: 'by way of A',
    table: misled,
    attempt: async (matrix, place) => ({
      params: { id: matrix.a.self, [name]: await make(matrix, id(matrix, place)) },
      ...(body ? { body } : {}),
    }),
  },
];

const invitation = async ({ world, people }: Matrix, organizationId: string): Promise<string> => {
  const [row] = await world.server.database
    .db('organizationInvitations')
    .insert({
      organizationId,
      email: `${uuid()}@example.com`,
      tokenHash: hashToken(uuid()),
      invitedBy: people.super_admin.id,
      expiresAt: new Date(Date.now() + 3_600_000),
    })
    .returning('id');
  return row.id;
};
const mailDomain = async ({ world }: Matrix, organizationId: string): Promise<string> => {
  const [row] = await world.server.database
    .db('organizationDomains')
    .insert({ organizationId, domain: `${uuid()}.example`, token: uuid() })
    .returning('id');
  return row.id;
};
/** What was verified without DNS was vouched for by who may change every organization. */
const vouched = table(`
                                          A    child  sibling  parent  B
  nobody                                  401  401    401      401     401
  stranger, user of A, moderator          403  403    403      403     403
  manager of A, owner of A, key           403  403    404      404     404
  everything in A                         403  403    404      404     404
  manager of child                        404  403    404      404     404
  manager of sibling                      404  404    403      404     404
  manager of parent                       403  403    403      403     404
  manager of B                            404  404    404      404     403
  admin, super_admin, machine             ok   ok     ok       ok      ok
`);

export const organizationRows: Record<string, Row> = {
  ...facesOf(faces[0] as Face),
  ...fewer(facesOf(faces[1] as Face)),
  replaceCompany: {
    table: changed,
    attempt: async (matrix, place) => ({ ...(await newBeneath(matrix, place)), body: { name: `New ${uuid()}` } }),
  },
  setUserCompany: {
    title: 'into a company of A',
    table: intoCompany,
    attempt: async (matrix, place) => ({
      params: { id: (await matrix.accountIn(place)).id },
      body: { companyId: (await beneath(matrix, 'A')).id },
    }),
  },
  listInvitations: { table: changed, attempt: itself },
  // An invitation is somebody's: a machine sends none.
  invite: {
    table: except(changed, 'machine', '403'),
    attempt: (matrix, place) => ({ ...itself(matrix, place), body: { email: `${uuid()}@example.com` } }),
  },
  resendInvitation: partOf('invitationId', invitation, except(changed, 'machine', '403')).map((one) => ({
    ...one,
    table: except(one.table, 'machine', '403'),
  })),
  revokeInvitation: partOf('invitationId', invitation, changed),
  listMailDomains: { table: changed, attempt: itself },
  claimMailDomain: {
    table: changed,
    attempt: (matrix, place) => ({ ...itself(matrix, place), body: { domain: `${uuid()}.example` } }),
  },
  changeMailDomain: partOf('domainId', mailDomain, changed, { autoJoin: true }),
  verifyMailDomain: [
    ...partOf('domainId', mailDomain, vouched, { byHand: true }).slice(0, 1),
    ...partOf('domainId', mailDomain, vouched, {}).slice(1),
  ],
  releaseMailDomain: partOf('domainId', mailDomain, changed),
  ...Object.fromEntries(
    ['findInvitation', 'listOwnInvitations', 'acceptInvitation', 'declineInvitation'].map((one) => [
      one,
      'none' as const,
    ]),
  ),
};
