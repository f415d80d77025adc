/** Accounts in the matrix; see `authorization-matrix.ts`. */
import { v7 as uuid } from 'uuid';
import { type Matrix, type Place, type Row, table } from './authorization-matrix.ts';

const name = 'Ada Lovelace';

/** An account of an organization is seen by whoever looks after one of those that it belongs to. */
const seen = table(`
                                          A    child  sibling  parent  B    none  A+B
  nobody                                  401  401    401      401     401  401   401
  stranger, user of A                     403  403    403      403     403  403   403
  manager of A, owner of A, key           ok   ok     403      403     403  403   ok
  everything in A                         ok   ok     403      403     403  403   ok
  manager of child                        403  ok     403      403     403  403   403
  manager of sibling                      403  403    ok       403     403  403   403
  manager of parent                       ok   ok     ok       ok      403  403   ok
  manager of B                            403  403    403      403     ok   403   ok
  moderator, admin, super_admin, machine  ok   ok     ok       ok      ok   ok    ok
`);
/** It is changed by whoever looks after all of them. */
const changed = table(`
                                          A    child  sibling  parent  B    none  A+B
  nobody                                  401  401    401      401     401  401   401
  stranger, user of A                     403  403    403      403     403  403   403
  manager of A, owner of A, key           ok   ok     403      403     403  403   403
  everything in A                         ok   ok     403      403     403  403   403
  manager of child                        403  ok     403      403     403  403   403
  manager of sibling                      403  403    ok       403     403  403   403
  manager of parent                       ok   ok     ok       ok      403  403   403
  manager of B                            403  403    403      403     ok   403   403
  moderator                               403  403    403      403     403  403   403
  admin, super_admin, machine             ok   ok     ok       ok      ok   ok    ok
`);
const listed = table(`
                                          A    child  sibling  parent  B    none  A+B
  nobody                                  401  401    401      401     401  401   401
  stranger, user of A                     403  403    403      403     403  403   403
  manager of A, owner of A, key           ok   ok     -        -       -    -     ok
  everything in A                         ok   ok     -        -       -    -     ok
  manager of child                        -    ok     -        -       -    -     -
  manager of sibling                      -    -      ok       -       -    -     -
  manager of parent                       ok   ok     ok       ok      -    -     ok
  manager of B                            -    -      -        -       ok   -     ok
  moderator, admin, super_admin, machine  ok   ok     ok       ok      ok   ok    ok
`);
/** An account that begins somewhere. */
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

const account = async (matrix: Matrix, place: Place) => ({ params: { id: (await matrix.accountIn(place)).id } });

export const userRows: Record<string, Row> = {
  listUsers: {
    table: listed,
    listed: async (matrix, place) => {
      const { id } = await matrix.accountIn(place);
      await matrix.world.server.database
        .db('users')
        .where({ id })
        .update({ email: `listed-${id}@example.com` });
      return id;
    },
    attempt: () => ({ query: { q: 'listed-' } }),
  },
  getUser: { table: seen, attempt: account },
  getProfile: { table: seen, attempt: account },
  createUser: {
    table: made,
    attempt: (matrix, place) => {
      const organizationId = matrix.organizationOf(place);
      return { body: { email: `${uuid()}@example.com`, name, ...(organizationId ? { organizationId } : {}) } };
    },
  },
  updateUser: {
    table: changed,
    attempt: async (matrix, place) => ({ ...(await account(matrix, place)), body: { name: 'Ada King' } }),
  },
  replaceProfile: {
    table: changed,
    attempt: async (matrix, place) => ({ ...(await account(matrix, place)), body: { name: 'Ada King' } }),
  },
  ...Object.fromEntries(
    [
      'administerUsers',
      'deactivateUser',
      'reactivateUser',
      'closeUser',
      'assignRole',
      'listUserSessions',
      'listUserSignIns',
      'endUserSessions',
      'revokeTokens',
    ].map((id) => [id, 'none' as const]),
  ),
};
