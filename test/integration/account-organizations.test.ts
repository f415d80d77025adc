/** `/account/organizations`: a person's own memberships, and leaving. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Browser, registerAccount } from '../support/browser.ts';
import { addMember, grantPermission, grantRole, makeGroup, makeOrganization } from '../support/organizations.ts';
import { postForm, signedIn, words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

const path = '/account/organizations';
const person = async (): Promise<{ id: string; browser: Browser }> => {
  const email = await registerAccount(server);
  const { id } = await server.database.db('users').where({ email }).first('id');
  return { id, browser: await signedIn(server, email) };
};
const belongs = async (organizationId: string, userId: string) =>
  (await server.database.db('organizationMembers').where({ organizationId, userId }).first()) !== undefined;

describe('The organizations of an account', () => {
  it('are one’s own, with what one holds there', async () => {
    const { id, browser } = await person();
    expect((await browser.go(path)).html).toContain(words('organizations.none'));
    const mine = await makeOrganization(server, { name: 'Mine & Co', kind: 'company', members: [id] });
    const shut = await makeOrganization(server, { name: 'Shut', members: [id], isActive: false });
    const theirs = await makeOrganization(server, { name: 'Theirs', parentId: mine.id });
    await grantRole(server, { userId: id }, 'partner', { organizationId: mine.id });
    const { html } = await browser.go(path);
    for (const text of [
      'Mine &amp; Co',
      'partner',
      words('organizations.company'),
      'Shut',
      words('organizations.inactive'),
    ])
      expect(html).toContain(text);
    expect(html).not.toContain(theirs.name);
    for (const one of [mine, shut]) expect(html).toContain(`${path}/${one.id}/leave`);
  });

  it('stand beside the groups and business domains that one is in, as far as they are active', async () => {
    const { id, browser } = await person();
    const { db } = server.database;
    expect((await browser.go(path)).html).not.toContain(words('organizations.groups'));
    await makeGroup(server, { name: 'Night & day', kind: 'team', members: [id] });
    const shut = await makeGroup(server, { name: 'Shut down', members: [id] });
    await db('groups').where({ id: shut.id }).update({ isActive: false });
    await db('domainMembers').insert({ userId: id, domainId: db('domains').where({ key: 'sales' }).select('id') });
    const { html } = await browser.go(path);
    for (const text of ['Night &amp; day', words('organizations.team'), words('organizations.domains'), 'Sales'])
      expect(html).toContain(text);
    expect(html).not.toContain('Shut down');
  });

  it('are left after a question', async () => {
    const { id, browser } = await person();
    const { id: organizationId, name } = await makeOrganization(server, { members: [id] });
    await grantRole(server, { userId: id }, 'partner', { organizationId });
    const asked = await browser.go(`${path}/${organizationId}/leave`);
    expect([asked.status, asked.html.includes(name)]).toEqual([200, true]);
    expect(await belongs(organizationId, id)).toBe(true);
    const left = await browser.submit(asked);
    expect([left.url.pathname, left.html.includes(words('notices.organizationLeft'))]).toEqual([path, true]);
    expect(await belongs(organizationId, id)).toBe(false);
    expect(await server.database.db('roleGrants').where({ userId: id }).select('id')).toEqual([]);
    // Once more: there is nothing to leave.
    expect((await postForm(browser, `${path}/leave`, { id: organizationId })).status).toBe(404);
  });

  it('are not left by whoever alone owns one', async () => {
    const { id, browser } = await person();
    const other = await person();
    const { id: organizationId } = await makeOrganization(server, { owners: [id] });
    const { html } = await browser.go(path);
    expect(html).toContain(words('organizations.onlyOwner'));
    expect(html).not.toContain(`${organizationId}/leave`);
    expect((await browser.go(`${path}/${organizationId}/leave`)).status).toBe(409);
    expect((await postForm(browser, `${path}/leave`, { id: organizationId })).status).toBe(409);
    await addMember(server, organizationId, other.id, { isOwner: true });
    expect((await browser.submit(await browser.go(`${path}/${organizationId}/leave`))).url.pathname).toBe(path);
  });

  it('are nobody else’s to leave', async () => {
    const [{ browser }, other] = [await person(), await person()];
    const { id: organizationId } = await makeOrganization(server, { members: [other.id] });
    for (const id of [organizationId, 'x', '00000000-0000-4000-8000-000000000000', `${organizationId}%00`])
      expect((await browser.go(`${path}/${id}/leave`)).status).toBe(404);
    expect((await postForm(browser, `${path}/leave`, { id: organizationId })).status).toBe(404);
    expect((await postForm(browser, `${path}/leave`, { id: 'x' })).status).toBe(400);
    expect(await belongs(organizationId, other.id)).toBe(true);
  });

  it('are not left by whoever may not', async () => {
    const { id, browser } = await person();
    const { id: organizationId } = await makeOrganization(server, { members: [id] });
    await grantPermission(server, { userId: id }, 'organizations:leave:own', { effect: 'deny' });
    expect((await browser.go(path)).html).not.toContain(`${organizationId}/leave`);
    expect((await browser.go(`${path}/${organizationId}/leave`)).status).toBe(404);
    expect((await postForm(browser, `${path}/leave`, { id: organizationId })).status).toBe(404);
    expect(await belongs(organizationId, id)).toBe(true);
  });
});
