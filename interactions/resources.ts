/** Applications, and the APIs they ask for, on the pages: in the words of whoever registered them, if anybody has. */
import type { Db } from '../db/connect.ts';
import { findResourceTexts } from '../src/resource-servers/resource-servers.queries.ts';
import type { ResourceWords } from './view-props.ts';

type Resources = Readonly<Record<string, readonly string[]>>;

/** @returns for each of these sets of resources, by identifier with the scopes there, how a page shows it; one query for all */
export const describeResources = async (db: Db, sets: readonly Resources[]): Promise<ResourceWords[][]> => {
  const known = await findResourceTexts(db, [...new Set(sets.flatMap(Object.keys))]);
  return sets.map((resources) =>
    Object.entries(resources).map(([indicator, scopes]) => {
      const server = known.find(({ identifier }) => identifier === indicator);
      if (!server) return { indicator, scopes: [...scopes] };
      const texts = server.scopes.flatMap(({ name, description }) => (description ? [[name, description]] : []));
      return { indicator, name: server.name, scopes: [...scopes], texts: Object.fromEntries(texts) };
    }),
  );
};

/** Where an application lives: that of its document, which it cannot choose, before that which it says. */
export const hostOf = (clientId: string, clientUri: string | null): string | undefined =>
  (URL.parse(clientId) ?? URL.parse(clientUri ?? ''))?.host;
