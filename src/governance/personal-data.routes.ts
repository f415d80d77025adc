/** REST of a copy of one's own data. */
import { findLacking } from '../auth/recent-sign-in.queries.ts';
import { forbidden } from '../errors.ts';
import { assertSignedInHere } from '../http/caller.ts';
import { type Route, route } from '../http/route.ts';
import { findSessionSignIn } from '../sessions/sessions.queries.ts';
import { exportPersonalData, type PersonalDataDeps } from './personal-data.commands.ts';

export const personalDataRoutes = (deps: PersonalDataDeps): Route[] => [
  route({
    id: 'exportMyData',
    method: 'get',
    path: '/auth/me/data',
    tag: 'Accounts',
    summary: 'Download all that is kept about oneself',
    description:
      'One JSON document: account, profile, second factors without their secrets, sessions, applications, API keys by their beginnings, sign-ins and activity. It takes the token of a sign-in at this API or at another application of the service’s own, not older than ten minutes and with a second factor where the person has one. A connection that ends before its time means that the file is not whole.',
    access: 'users:read:own',
    streams: ['application/json'],
    status: 200,
    problems: { 403: ['session_needed'] },
    handle: async ({ caller, actor }) => {
      assertSignedInHere(caller);
      const signIn = await findSessionSignIn(deps.db, caller.id, caller.sessionUid);
      const lacking = signIn && (await findLacking(deps.db, { userId: caller.id, ...signIn }));
      if (!lacking || lacking.stale || lacking.weak)
        throw forbidden(
          'session_needed',
          'This needs a sign-in of the last ten minutes, with a second factor if there is one',
        );
      return exportPersonalData(deps, actor, caller.id);
    },
  }),
];
