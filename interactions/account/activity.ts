/** `/account/activity`: what one did here, and what was done to one's account. */
import type Router from '@koa/router';
import type { Db } from '../../db/connect.ts';
import { splitKey } from '../../src/audit/logs.queries.ts';
import { listActivity } from '../../src/auth/activity.queries.ts';
import { isUnsaid, tellActivity } from '../../src/auth/activity.ts';
import { describePlace } from '../../src/sessions/place.ts';
import type { Pages } from '../pages.ts';
import { activityPath } from './navigation.ts';
import type { AccountFrame } from './signed-in.ts';

const shownAtOnce = 25;

export const mountActivity = (
  router: Router,
  { signedIn }: AccountFrame,
  { db, pages }: { db: Db; pages: Pages },
): void => {
  router.get(
    '/activity',
    signedIn(async (ctx, { user }) => {
      const { before: asked } = ctx.query;
      // An address that was cut off on its way shows the newest.
      const before = typeof asked === 'string' && splitKey(asked) ? asked : undefined;
      const rows = await listActivity(db, user.id, { limit: shownAtOnce + 1, before });
      const events = rows.slice(0, shownAtOnce);
      const last = events.at(-1);
      const locale = pages.locale(ctx);
      pages.show(
        ctx,
        'activity',
        {
          events: events.map((event) => {
            const { signIn, client, device, address, ...told } = tellActivity(event);
            return {
              ...told,
              onOthers: event.onOthers,
              ...(isUnsaid(event) ? { unsaid: true } : {}),
              device: device ?? '',
              address: address ?? '',
              place: signIn ? describePlace(signIn, locale) : '',
              clientName: client?.name ?? '',
              signals: signIn?.signals ?? [],
              ...(signIn && signIn.outcome !== 'allow' ? { outcome: signIn.outcome } : {}),
            };
          }),
          ...(before === undefined ? {} : { newestHref: activityPath }),
          ...(rows.length > shownAtOnce && last ? { olderHref: `${activityPath}?before=${last.key}` } : {}),
          problems: [],
        },
        { signedInAs: user.email },
      );
    }),
  );
};
