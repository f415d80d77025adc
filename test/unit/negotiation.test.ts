/** What is remembered of headers is what Koa would say. */
import type { IncomingMessage } from 'node:http';
import Koa from 'koa';
import { expect, it } from 'vitest';
import { rememberNegotiation } from '../../src/http/negotiation.ts';

const form = 'application/x-www-form-urlencoded';
const app = new Koa();
rememberNegotiation(app);

const requestOf = (of: Koa, headers: Record<string, string>): Koa.Request =>
  Object.assign(Object.create(of.request), { req: { headers } as IncomingMessage });

it.each<[name: string, headers: Record<string, string>]>([
  ['nothing', {}],
  ['JSON', { accept: 'application/json' }],
  ['anything', { accept: '*/*' }],
  ['a browser', { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' }],
  ['what there is not', { accept: 'image/png' }],
  ['a signed answer', { accept: 'application/token-introspection+jwt' }],
  ['too much to be remembered', { accept: 'text/html,'.repeat(100) }],
  ['a form', { 'content-type': form, 'content-length': '5' }],
  ['an empty form', { 'content-type': form, 'content-length': '0' }],
  ['a form in chunks', { 'content-type': form, 'transfer-encoding': 'chunked' }],
  ['a form without a body', { 'content-type': form }],
  ['a form with a parameter', { 'content-type': `${form}; charset=utf-8`, 'content-length': '5' }],
  ['something else', { 'content-type': 'application/json', 'content-length': '5' }],
  ['a word', { 'content-type': 'json', 'content-length': '5' }],
])('%s', (_name, headers) => {
  const [ours, plain] = [requestOf(app, headers), requestOf(new Koa(), headers)];
  for (const _again of [1, 2]) {
    expect(ours.accepts('json', 'html')).toBe(plain.accepts('json', 'html'));
    expect(ours.accepts('html', 'json')).toBe(plain.accepts('html', 'json'));
    expect(ours.accepts('json', 'application/token-introspection+jwt')).toBe(
      plain.accepts('json', 'application/token-introspection+jwt'),
    );
    expect(ours.accepts()).toEqual(plain.accepts());
    for (const type of [form, 'json', 'application/json']) expect(ours.is(type)).toBe(plain.is(type));
  }
});
