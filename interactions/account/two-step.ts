/** `/account/two-step`: authenticator apps, backup codes and remembered browsers. Works without scripts. */

import type Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import { countRememberedBrowsers } from '../../src/auth/known-devices.queries.ts';
import { AppError } from '../../src/errors.ts';
import { isBackupCode, normalizeBackupCode, regenerateBackupCodes } from '../../src/mfa/backup-codes.commands.ts';
import type { FactorDeps } from '../../src/mfa/factor-changes.ts';
import type { FactorLimits } from '../../src/mfa/factor-codes.commands.ts';
import { FactorName } from '../../src/mfa/factor-fields.ts';
import { forgetAllBrowsers, removeFactor, renameFactor } from '../../src/mfa/factors.commands.ts';
import { findFactors, hasStrongFactor, listFactors } from '../../src/mfa/factors.queries.ts';
import { qrCode } from '../../src/mfa/qr.ts';
import { beginTotp, confirmTotp, enrolmentMinutes, showPendingTotp, totpMax } from '../../src/mfa/totp.commands.ts';
import type { Pages, Visitor } from '../pages.ts';
import type { Problem } from '../view-props.ts';
import type { MountPage } from './account.ts';
import { twoStepPath } from './navigation.ts';

/** Gives backup codes that are posted there back as a text file. Nobody needs to be signed in for it. */
export const codesAction = `${twoStepPath}/codes.txt`;

const notices = new Set(['factorRemoved', 'factorRenamed', 'browsersForgotten']);

const IdForm = z.object({ id: z.uuid() });
const NameForm = IdForm.extend({ name: FactorName });
const CodeForm = z.object({ code: z.string().max(40), name: FactorName });
const CodesForm = z.object({
  codes: z
    .string()
    .max(1000)
    .transform((text) => text.split(' '))
    .pipe(z.array(z.string().refine(isBackupCode)).min(1).max(20)),
});

/** What a refusal says on the page. */
const refusals: Record<string, string> = {
  totp_limit_reached: 'totpLimit',
  last_factor: 'lastFactor',
  factor_not_found: 'factorGone',
  no_second_factor: 'factorGone',
  email_not_verified: 'emailNotVerified',
};

export interface TwoStepDeps {
  pages: Pages;
  deps: FactorDeps & Pick<FactorLimits, 'limitFactorTries' | 'returnFactorTry'>;
  /** The service's name, as authenticator apps show it. */
  brand: string;
}

export const mountTwoStep =
  ({ pages, deps, brand }: TwoStepDeps): MountPage =>
  (router: Router, { recent, redirect }) => {
    const { db, secrets } = deps;
    const labelOf = ({ user }: Visitor) => ({ issuer: brand, account: user.email });

    const page = async (ctx: Koa.Context, { user }: Visitor, problems: Problem[] = []) => {
      const factors = await listFactors(db, user.id);
      const { passkeys, backupCodes, ...rest } = await findFactors(db, user.id);
      const notice = String(ctx.query.notice ?? '');
      const apps = factors.filter(({ kind }) => kind === 'totp');
      pages.show(
        ctx,
        'two-step',
        {
          on: hasStrongFactor({ ...rest, passkeys }),
          apps: apps.map(({ id, name, createdAt, lastUsedAt }) => ({
            id,
            name,
            addedAt: createdAt,
            ...(lastUsedAt ? { lastUsedAt } : {}),
          })),
          full: apps.length >= totpMax,
          backupCodes,
          passkeys,
          passkeysHref: '/account/passkeys',
          browsers: await countRememberedBrowsers(db, user.id),
          action: twoStepPath,
          ...(notices.has(notice) ? { notice } : {}),
          problems,
        },
        { signedInAs: user.email, status: problems.length ? ctx.status : 200 },
      );
    };

    const codesPage = (ctx: Koa.Context, { user }: Visitor, codes: readonly string[], added: boolean) =>
      pages.show(
        ctx,
        'backup-codes',
        {
          codes: [...codes],
          account: user.email,
          added,
          downloadAction: codesAction,
          doneHref: twoStepPath,
        },
        // What was shown once is not fetched again in another language.
        { signedInAs: user.email, path: '' },
      );

    /** Runs a form's command; what it refuses is said on the page. */
    const submit = (work: (ctx: Koa.Context, visitor: Visitor) => Promise<void>) =>
      recent(async (ctx, visitor) => {
        try {
          await work(ctx, visitor);
        } catch (error) {
          const code = error instanceof AppError ? refusals[error.code] : undefined;
          if (error instanceof AppError && code) ctx.status = error.status;
          await page(ctx, visitor, code ? [{ code }] : pages.refused(ctx, error));
        }
      });

    router.get(
      '/two-step',
      recent((ctx, visitor) => page(ctx, visitor)),
    );

    router.post(
      '/two-step/app',
      submit(async (ctx, visitor) => {
        const { user, actor, sessionUid } = visitor;
        const app = { userId: user.id, standing: { sessionUid }, name: 'Authenticator app', label: labelOf(visitor) };
        await beginTotp(deps, db, actor, app);
        redirect(ctx, `${twoStepPath}/app`);
      }),
    );

    const setUpPage = async (ctx: Koa.Context, visitor: Visitor, problems: Problem[] = []) => {
      const pending = await showPendingTotp(db, secrets, visitor.user.id, labelOf(visitor));
      if (!pending) {
        if (ctx.method === 'GET') return redirect(ctx, twoStepPath);
        ctx.status = 400;
        return page(ctx, visitor, [{ code: 'totpExpired' }]);
      }
      const { name } = (ctx.request.body ?? {}) as { name?: unknown };
      pages.show(
        ctx,
        'two-step-setup',
        {
          action: `${twoStepPath}/app/confirm`,
          cancelHref: twoStepPath,
          key: (pending.secret.match(/.{1,4}/g) ?? []).join(' '),
          otpauthUrl: pending.otpauthUrl,
          qr: await qrCode(pending.otpauthUrl),
          minutes: enrolmentMinutes,
          ...(typeof name === 'string' ? { name: name.slice(0, 100) } : {}),
          problems,
        },
        { signedInAs: visitor.user.email, status: problems.length ? ctx.status : 200 },
      );
    };
    router.get('/two-step/app', recent(setUpPage));

    router.post(
      '/two-step/app/confirm',
      recent(async (ctx, visitor) => {
        const { user, actor, sessionUid } = visitor;
        try {
          const { code, name } = pages.form(ctx, CodeForm);
          const confirmation = { userId: user.id, standing: { sessionUid }, code, name };
          await deps.limitFactorTries(user.id);
          const confirmed = await confirmTotp(deps, db, actor, confirmation);
          if (confirmed) {
            await deps.returnFactorTry(user.id);
            return codesPage(ctx, visitor, confirmed.backupCodes, true);
          }
          ctx.status = 400;
          await setUpPage(ctx, visitor, [{ field: 'code', code: 'totpWrong' }]);
        } catch (error) {
          await setUpPage(ctx, visitor, pages.refused(ctx, error));
        }
      }),
    );

    router.post(
      '/two-step/rename',
      submit(async (ctx, { user, actor, sessionUid }) => {
        await renameFactor(db, actor, {
          userId: user.id,
          standing: { sessionUid },
          kind: 'totp',
          ...pages.form(ctx, NameForm),
        });
        redirect(ctx, `${twoStepPath}?notice=factorRenamed`);
      }),
    );

    router.post(
      '/two-step/remove',
      submit(async (ctx, { user, actor, sessionUid }) => {
        const { id } = pages.form(ctx, IdForm);
        await removeFactor(deps, db, actor, { userId: user.id, standing: { sessionUid }, kind: 'totp', id });
        redirect(ctx, `${twoStepPath}?notice=factorRemoved`);
      }),
    );

    router.post(
      '/two-step/codes',
      submit(async (ctx, visitor) => {
        const { user, actor, sessionUid } = visitor;
        const owner = { userId: user.id, standing: { sessionUid } };
        codesPage(ctx, visitor, await regenerateBackupCodes(deps, db, actor, owner), false);
      }),
    );

    // The page gives the codes back, since nobody else knows them any more: nothing is looked up, and nothing else comes back.
    router.post('/two-step/codes.txt', (ctx) => {
      const { codes } = pages.form(ctx, CodesForm);
      const lines = codes.map((code) => (normalizeBackupCode(code).match(/.{4}/g) ?? []).join('-'));
      ctx.set('Cache-Control', 'no-store');
      ctx.attachment('backup-codes.txt');
      ctx.type = 'text/plain; charset=utf-8';
      ctx.body = `${brand}\r\n${new URL(ctx.href).host}\r\n\r\n${lines.join('\r\n')}\r\n`;
    });

    router.post(
      '/two-step/browsers',
      submit(async (ctx, { user, actor }) => {
        await forgetAllBrowsers(deps, actor, user.id);
        redirect(ctx, `${twoStepPath}?notice=browsersForgotten`);
      }),
    );
  };
