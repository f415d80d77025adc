/** What people do with their own account on its pages: the address, a first password, a copy of the data. See `audited-commands.ts`. */
import { v7 as uuid } from 'uuid';
import type { Actor } from '../../src/audit/logs.commands.ts';
import { changeAddress, requestAddressChange } from '../../src/auth/address-change.commands.ts';
import { setFirstPassword } from '../../src/auth/password.commands.ts';
import { exportPersonalData } from '../../src/governance/personal-data.commands.ts';
import type { Arranged, World } from './audited-commands.ts';

const user = (id: string): Actor => ({
  type: 'user',
  id,
  address: '192.0.2.1',
  requestId: 'request-1',
  userAgent: 'a browser',
});

const asUser = (action: string, id: string, meta?: object) => ({
  action,
  actor: ['user', id] as [string, string],
  target: ['user', id] as [string, string],
  ...(meta ? { meta } : {}),
});

export const accountCommands: Record<string, (world: World) => Promise<Arranged>> = {
  requestAddressChange: async ({ server, registerVerified }) => {
    const { id: userId } = await registerVerified();
    const email = `${uuid()}@example.com`;
    return {
      run: () => requestAddressChange(server.app.otp, user(userId), { userId, email }),
      expected: () => [asUser('otp.send', userId, { purpose: 'change-email', channel: 'email' })],
    };
  },
  changeAddress: async ({ server, db, registerVerified, openSession }) => {
    const { id: userId } = await registerVerified();
    const sessionUid = await openSession(userId);
    const email = `${uuid()}@example.com`;
    await requestAddressChange(server.app.otp, user(userId), { userId, email });
    const code = /\b\d{6}\b/.exec((await server.mail(email)).text)?.[0] ?? '';
    return {
      // That it was tried is counted whatever comes of it.
      run: () =>
        changeAddress(server.app.otp, user(userId), { userId, sessionUid, code }).finally(() =>
          db('oneTimeCodes').update({ tries: 0 }),
        ),
      expected: () => [asUser('user.change_email', userId)],
    };
  },
  setFirstPassword: async ({ server, db, registerVerified, openSession }) => {
    const { id: userId } = await registerVerified();
    await db('users').where({ id: userId }).update({ passwordHash: null });
    const [here, elsewhere] = [await openSession(userId), await openSession(userId)];
    const newPassword = 'another horse battery staple';
    return {
      run: () => setFirstPassword(server.app.accounts, user(userId), { userId, sessionUid: here, newPassword }),
      expected: () => [
        asUser('session.end', userId, { sessions: [elsewhere], reason: 'password_change' }),
        asUser('password.set', userId),
      ],
    };
  },
  exportPersonalData: async ({ server, registerVerified }) => {
    const { id } = await registerVerified();
    const { db, secrets, issuer } = server.app.accounts;
    return {
      run: () => exportPersonalData({ db, secrets, issuer }, user(id), id),
      expected: () => [asUser('user.export_data', id)],
    };
  },
};
