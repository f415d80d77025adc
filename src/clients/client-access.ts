/** What clients may do, as it is now, for requests: what is remembered of the client, and of whoever answers for it. */
import type { Db } from '../../db/connect.ts';
import type { UserAccess } from '../roles/access.queries.ts';
import type { Access } from '../roles/access.ts';
import { isClientId } from './client-ids.ts';
import { type Backing, findBackings, isOwnTo, type Standing, toStanding } from './standing.queries.ts';

export interface ClientAccess extends Access {
  /** As `findStanding`. For requests that only read. */
  standingOf(clientId: string): Promise<Standing | undefined>;
  /** As `findStandings`. */
  standingsOf(clientIds: readonly string[]): Promise<ReadonlyMap<string, Standing>>;
  /** As `isTrusted`. */
  isTrusted(clientId: string, userId: string): Promise<boolean>;
}

const clientsMax = 5000;

export const createClientAccess = (access: Access, db: Db): ClientAccess => {
  const clients = access.shelf<Backing>({ name: 'client', max: clientsMax });
  // What is remembered is one and the same object until it changes, and so is what follows from two of them.
  const made = new WeakMap<Backing, { person: UserAccess | undefined; standing: Standing }>();
  const standing = (backing: Backing, person: UserAccess | undefined): Standing => {
    const known = made.get(backing);
    if (known && known.person === person) return known.standing;
    const standing = toStanding(backing, person);
    Object.freeze(standing.permissions);
    made.set(backing, { person, standing: Object.freeze(standing) });
    return standing;
  };
  const standingsOf = async (clientIds: readonly string[]): Promise<ReadonlyMap<string, Standing>> => {
    const found = await clients.getMany(clientIds.filter(isClientId), (ids) => findBackings(db, ids));
    const registrars = [...found.values()].flatMap(({ registrar }) => registrar ?? []);
    const people = await access.ofMany(registrars);
    return new Map([...found].map(([id, backing]) => [id, standing(backing, people.get(backing.registrar ?? ''))]));
  };
  const peek = (clientId: string): Standing | undefined => {
    const backing = clients.peek(clientId);
    if (!backing) return undefined;
    if (backing.registrar === null) return standing(backing, undefined);
    const person = access.peek(backing.registrar);
    return person && standing(backing, person);
  };
  const standingOf = async (clientId: string) => peek(clientId) ?? (await standingsOf([clientId])).get(clientId);
  return {
    ...access,
    standingOf,
    standingsOf,
    isTrusted: async (clientId, userId) => {
      const standing = await standingOf(clientId);
      return standing?.firstParty === true && isOwnTo(standing, await access.of(userId));
    },
  };
};
