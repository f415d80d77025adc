/** `/account/sessions`: where one is signed in. */
import type Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { routes } from '../../src/provider/configuration.ts';
import { describeDevice } from '../../src/sessions/device.ts';
import { describePlace } from '../../src/sessions/place.ts';
import { endSessions, type QueueLogout } from '../../src/sessions/sessions.commands.ts';
import { clientNames, listSessions } from '../../src/sessions/sessions.queries.ts';
import type { Pages, Visitor } from '../pages.ts';
import type { Problem } from '../view-props.ts';
import { accountClientId } from './account-client.ts';
import { sessionsPath } from './navigation.ts';
import type { AccountFrame } from './signed-in.ts';

const notices = new Set(['sessionEnded', 'othersEnded']);
const IdForm = z.object({ id: z.string().regex(/^[\x20-\x7e]{1,500}$/) });

export const mountSessions = (
  router: Router,
  { signedIn, redirect }: AccountFrame,
  { db, pages, queueLogout }: { db: Db; pages: Pages; queueLogout: QueueLogout },
): void => {
  const page = async (ctx: Koa.Context, { user, sessionUid }: Visitor, problems: Problem[] = []) => {
    const sessions = await listSessions(db, user.id);
    const names = await clientNames(db, [
      ...new Set(sessions.flatMap(({ authorizations }) => Object.keys(authorizations))),
    ]);
    const notice = String(ctx.query.notice ?? '');
    pages.show(
      ctx,
      'sessions',
      {
        sessions: [
          ...sessions.filter(({ uid }) => uid === sessionUid),
          ...sessions.filter(({ uid }) => uid !== sessionUid),
        ].map(({ uid, userAgent, address, country, city, startedAt, lastSeenAt, authorizations }) => ({
          id: uid,
          device: describeDevice(userAgent ?? undefined),
          place: describePlace({ country, city }, pages.locale(ctx)),
          address: address ?? '',
          startedAt,
          lastSeenAt,
          current: uid === sessionUid,
          apps: Object.keys(authorizations)
            .filter((id) => id !== accountClientId)
            .flatMap((id) => names.get(id) ?? []),
        })),
        endAction: `${sessionsPath}/end`,
        endOthersAction: `${sessionsPath}/end-others`,
        signOutHref: routes.end_session,
        ...(notices.has(notice) ? { notice } : {}),
        problems,
      },
      { signedInAs: user.email, status: problems.length ? ctx.status : 200 },
    );
  };
  router.get(
    '/sessions',
    signedIn((ctx, visitor) => page(ctx, visitor)),
  );

  router.post(
    '/sessions/end',
    signedIn(async (ctx, visitor) => {
      const { user, actor, sessionUid } = visitor;
      const { id } = pages.form(ctx, IdForm);
      if (await endSessions(db, actor, { userId: user.id, uid: id, reason: 'account_page' }, queueLogout))
        return redirect(ctx, id === sessionUid ? '/' : `${sessionsPath}?notice=sessionEnded`);
      ctx.status = 404;
      await page(ctx, visitor, [{ code: 'notFound' }]);
    }),
  );

  router.post(
    '/sessions/end-others',
    signedIn(async (ctx, { user, actor, sessionUid }) => {
      await endSessions(db, actor, { userId: user.id, except: sessionUid, reason: 'account_page' }, queueLogout);
      redirect(ctx, `${sessionsPath}?notice=othersEnded`);
    }),
  );
};
