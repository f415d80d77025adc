import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { MailProps } from '../../interactions/mail-props.ts';
import type { Problem, ViewProps } from '../../interactions/view-props.ts';
import { createViews } from '../../interactions/views.ts';
import { mailSamples, pageOf, samples } from '../e2e/gallery.ts';

type Messages = { [key: string]: string | Messages };

const views = createViews({ brand: 'Countersign' });
const mails = Object.keys(mailSamples) as (keyof MailProps)[];

const messagesOf = (locale: string): Map<string, string> => {
  const flatten = (messages: Messages, prefix = ''): [string, string][] =>
    Object.entries(messages).flatMap(([key, value]) =>
      typeof value === 'string' ? [[prefix + key, value]] : flatten(value, `${prefix}${key}.`),
    );
  const file = new URL(`../../views/locales/${locale}.json`, import.meta.url);
  return new Map(flatten(JSON.parse(readFileSync(file, 'utf8'))));
};
const english = messagesOf('en');
const placeholders = (text: string): string[] => (text.match(/\{\{.*?\}\}/g) ?? []).sort();

/** A raw key in a page, e.g. `sign-in.title`: its group is one of ours and it is no part of an address. */
const groups = [...new Set([...english.keys()].map((key) => key.split('.')[0]))].join('|');
const rawKey = new RegExp(`(?<![\\w./@-])(?:${groups})\\.[a-z][\\w-]*(?:\\.\\w+)?`, 'g');
const rawKeysIn = (text: string): string[] =>
  [...text.matchAll(rawKey)].map(([key]) => key).filter((key) => !/\.(css|js|svg|org|example)$/.test(key));

/** Every string in the props becomes `evil`, but for those that choose among our own words. */
const poison = (value: unknown, evil: string, key = ''): unknown => {
  if (['code', 'title', 'purpose', 'retry', 'notice', 'problems', 'method', 'others'].includes(key)) return value;
  // Drawn here.
  if (key === 'qr') return value;
  if (typeof value === 'string') return evil;
  if (Array.isArray(value)) return value.map((item) => poison(item, evil));
  if (value instanceof Date || typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, poison(item, evil, name)]));
};

describe('translations', () => {
  it('come in five languages', () => expect(views.locales).toEqual(['ar', 'de', 'en', 'es', 'fr']));

  for (const locale of views.locales.filter((locale) => locale !== 'en')) {
    it(`${locale} has the keys and placeholders of en, and its own words`, () => {
      const messages = messagesOf(locale);
      expect([...messages.keys()]).toEqual([...english.keys()]);
      for (const [key, text] of messages) {
        expect([key, placeholders(text)]).toEqual([key, placeholders(english.get(key) ?? '')]);
        expect(text.trim(), key).not.toBe('');
      }
      const untranslated = [...messages].filter(
        ([key, text]) => text === english.get(key) && /[a-z ]{12}/i.test(text.replace(/\{\{.*?\}\}/g, '')),
      );
      expect(untranslated).toEqual([]);
    });
  }

  it('label a button by the word that is on it (WCAG 2.5.3)', () => {
    for (const locale of views.locales) {
      const messages = messagesOf(locale);
      for (const verb of ['show', 'hide']) {
        expect(messages.get(`fields.${verb}Password`)).toContain(messages.get(`fields.${verb}`));
      }
    }
  });
});

describe('pages', () => {
  it('have a sample of every view', () => {
    const templates = readdirSync(new URL('../../views/', import.meta.url)).filter((name) => name.endsWith('.eta'));
    const drawn = new Set(samples.map(({ view }) => `${view}.eta`));
    expect([...drawn, 'layout.eta'].sort()).toEqual(templates.sort());
  });

  for (const locale of views.locales) {
    it(`render in ${locale} without a hole or a raw key`, () => {
      for (const sample of samples) {
        const html = views.render(sample.view, sample.props, { ...pageOf(sample), locale });
        const where = `${sample.view} ${sample.state}`;
        expect(html, where).toContain(`<html lang="${locale}" dir="${locale === 'ar' ? 'rtl' : 'ltr'}">`);
        expect(html, where).not.toMatch(/undefined|\[object |NaN|\{\{|\uE000/);
        expect(rawKeysIn(html), where).toEqual([]);
      }
    });
  }

  it('carry no inline script, style or handler, and ask no one else for anything', () => {
    for (const sample of samples) {
      const html = views.render(sample.view, sample.props, pageOf(sample));
      expect(html).not.toMatch(/<style|style="|<script(?! src="\/assets\/)|\son\w+="|src="(?!\/assets\/|data:image\/)/);
      expect(html).not.toMatch(/<link[^>]+href="(?!\/assets\/)/);
    }
  });

  it('post every form, and never echo a password', () => {
    for (const sample of samples) {
      const html = views.render(sample.view, sample.props, pageOf(sample));
      for (const [form] of html.matchAll(/<form[^>]*>/g)) expect(form).toMatch(/method="post" action="\//);
      for (const [input] of html.matchAll(/<input[^>]*type="password"[^>]*>/g)) {
        expect(input).toMatch(/autocomplete="(current|new)-password( webauthn)?"/);
        expect(input).not.toContain('value=');
      }
    }
  });

  it('escape hostile values everywhere', () => {
    for (const evil of ['"><script>alert(1)</script>', "'><img src=x onerror=alert(1)>", '</title></textarea><b>']) {
      for (const sample of samples) {
        const page = { client: { id: evil, name: evil, logo: evil, themed: true }, signedInAs: evil, requestId: evil };
        const props = poison(sample.props, evil) as typeof sample.props;
        const html = views.render(sample.view, props, { ...pageOf(sample), ...page });
        expect(html, `${sample.view} ${sample.state}`).not.toContain(evil);
        expect(html, `${sample.view} ${sample.state}`).not.toMatch(/<script>|<img src=x|<b>|"><script/);
      }
    }
  });

  it('never link to a script that a client registered as its address', () => {
    const [sample] = samples.filter(({ view }) => view === 'consent');
    if (sample?.view !== 'consent') throw new Error('no sample');
    const evil = 'javascript:alert(1)';
    const page = { ...pageOf(sample), client: { id: 'x', name: 'X', logo: 'https://tracker.example/x.png' } };
    const html = views.render('consent', { ...sample.props, clientUri: evil, policyUri: evil, tosUri: evil }, page);
    expect(html).not.toMatch(/javascript:|tracker\.example/);
  });

  it('show an app by its visible name only', () => {
    const page = { locale: 'en', path: '', requestId: 'r', client: { id: 'x', name: 'Acme\u202Eknab' } };
    expect(views.render('signed-out', {}, page)).not.toContain('\u202E');
  });

  it('name step and app in the title, and say when something is wrong', () => {
    const page = { locale: 'en', path: '/', requestId: 'r', client: { id: 'acme', name: 'Acme' } };
    const props: ViewProps['sign-in'] = { action: '/', email: '', problems: [], forgotHref: '/' };
    const problems: Problem[] = [{ field: 'email', code: 'wrongCredentials' }];
    expect(views.render('sign-in', props, page)).toContain('<title>Sign in · Acme</title>');
    const refused = views.render('sign-in', { ...props, problems }, page);
    expect(refused).toContain('<title>Error: Sign in · Acme</title>');
    expect(refused).toMatch(/role="alert"[\s\S]*<a href="#email">Wrong email or password/);
    expect(refused).toMatch(/<input id="email"[^>]+aria-describedby="email-error" aria-invalid="true"/);
  });

  it('say how long to wait in the language itself, and something for a code nobody translated', () => {
    const page = { locale: 'de', path: '/', requestId: 'r' };
    const props: ViewProps['verify'] = { action: '/', token: 't', asksPassword: true, problems: [] };
    const text = (problem: Problem) => views.render('verify', { ...props, problems: [problem] }, page);
    expect(text({ code: 'tooManyAttempts', values: { minutes: 60 } })).toContain('1 Stunde');
    expect(text({ code: 'no_such_code' })).toContain('Das hat nicht geklappt');
  });

  it('weigh under 30 KB with styles, and the styles under 14 KB', () => {
    const styles = views.asset('styles.css')?.body.length ?? Number.POSITIVE_INFINITY;
    expect(styles).toBeLessThan(14_000);
    for (const sample of samples.filter(({ view }) => view === 'sign-in')) {
      const html = views.render(sample.view, sample.props, pageOf(sample));
      expect(Buffer.byteLength(html) + styles).toBeLessThan(30_000);
    }
  });

  it('lead to themselves in the other languages', () => {
    const html = views.render('signed-out', {}, { locale: 'en', path: '/x?lang=fr&a=b', requestId: 'r' });
    expect(html).toContain('<a href="/x?lang=de&amp;a=b" lang="de" hreflang="de" dir="ltr">Deutsch</a>');
    expect(views.render('signed-out', {}, { locale: 'en', path: '//evil.example', requestId: 'r' })).not.toContain(
      'evil',
    );
  });
});

describe('mails', () => {
  for (const locale of views.locales) {
    it(`are written in ${locale}, as text and HTML`, () => {
      for (const mail of mails) {
        const { subject, text, html } = views.mail(mail, mailSamples[mail], locale);
        for (const part of [subject, text, html]) {
          expect(part).not.toMatch(/undefined|\[object |NaN|\{\{|\uE000/);
          expect(rawKeysIn(part)).toEqual([]);
        }
        expect(subject).toContain('Countersign');
        expect(subject).not.toContain('\n');
        expect(text).not.toMatch(/<\w|&amp;|&#/);
        expect(html).not.toMatch(/<img|<script|<table/);
        for (const link of Object.values(mailSamples[mail]).filter((value) => /^https:/.test(String(value)))) {
          expect(text).toContain(link);
          expect(html).toContain(`href="${String(link).replaceAll('&', '&amp;')}"`);
        }
      }
    });
  }

  it('escape hostile values', () => {
    const evil = '"><script>alert(1)</script>';
    for (const mail of mails) {
      const props = poison(mailSamples[mail], evil) as MailProps[typeof mail];
      expect(views.mail(mail, props, 'en').html).not.toMatch(/<script|"><s/);
    }
  });

  for (const name of ['Visit https://spam.example', 'win at spam.example now', 'www.spam', 'x'.repeat(81)]) {
    it(`carry no message in the name: ${name.slice(0, 30)}`, () => {
      const { text, html } = views.mail('verify-email', { ...mailSamples['verify-email'], name }, 'en');
      expect(text).toMatch(/^Hello,\n/);
      expect(html).not.toContain(name);
    });
  }

  it('keep a value on its line', () => {
    const device = 'Chrome\r\n\nYour account is locked. Call us.';
    const { text } = views.mail('password-changed', { ...mailSamples['password-changed'], device }, 'en');
    expect(text).toContain('Device: Chrome Your account is locked. Call us.\n');
  });

  it('greet people with initials in their name', () => {
    const { text } = views.mail('verify-email', { ...mailSamples['verify-email'], name: 'Dr. J.R. Ewing' }, 'en');
    expect(text).toMatch(/^Hello Dr\. J\.R\. Ewing,\n/);
  });
});

describe('negotiation', () => {
  for (const [wanted, expected] of [
    [['de'], 'de'],
    [['de-AT'], 'de'],
    [['de-Latn-AT-1996'], 'de'],
    [['FR_ca'], 'fr'],
    [['it', 'es-419', 'de'], 'es'],
    [['it'], 'en'],
    [['*'], 'en'],
    [['', '-', '💥'], 'en'],
    [[], 'en'],
  ] as const) {
    it(`${JSON.stringify(wanted)} is ${expected}`, () => expect(views.negotiate(wanted)).toBe(expected));
  }

  it('renders an unknown locale in English', () => {
    expect(views.render('signed-out', {}, { locale: 'xx', path: '', requestId: 'r' })).toContain('<html lang="en"');
  });
});

describe('an overlay', () => {
  const overlay = mkdtempSync(join(tmpdir(), 'views-'));
  afterAll(() => rmSync(overlay, { recursive: true }));
  mkdirSync(join(overlay, 'locales'));
  writeFileSync(join(overlay, 'theme.css'), ':root { --accent: #085; }');
  writeFileSync(join(overlay, 'signed-out.eta'), "<% layout('@layout') %><h1>Bye, <%= it.heading %></h1>");
  writeFileSync(join(overlay, 'locales/en.json'), '{ "sign-in": { "submit": "Enter" } }');
  writeFileSync(join(overlay, 'locales/nl.json'), '{ "language": { "name": "Nederlands", "dir": "ltr" } }');
  const own = createViews({ overlay, brand: 'Acme ID' });
  const page = { locale: 'en', path: '/', requestId: 'r' };

  it('wins file by file', () => {
    const html = own.render('signed-out', {}, page);
    expect(html).toContain('<h1>Bye, You are signed out</h1>');
    expect(html).toContain('<title>You are signed out · Acme ID</title>');
  });

  it('merges translations key by key, and may add a language', () => {
    const html = own.render('sign-in', { action: '/', email: '', problems: [], forgotHref: '/' }, page);
    expect(html).toContain('<button class="primary">Enter</button>');
    expect(html).toContain('Forgot your password?');
    expect(own.negotiate(['nl-BE'])).toBe('nl');
    expect(own.render('signed-out', {}, { ...page, locale: 'nl' })).toContain('<html lang="nl"');
  });

  it('links its theme after our styles, and the theme of an app after both', () => {
    const client = { id: 'a b', name: 'A', themed: true };
    const sheets = [...own.render('signed-out', {}, { ...page, client }).matchAll(/stylesheet" href="([^"?]+)/g)];
    expect(sheets.map(([, href]) => href)).toEqual([
      '/assets/styles.css',
      '/assets/theme.css',
      '/assets/client-theme.css',
    ]);
    expect(own.render('signed-out', {}, { ...page, client })).toContain('client-theme.css?client=a%20b"');
    expect(views.render('signed-out', {}, page)).not.toContain('theme.css');
  });

  it('is served by content hash', () => {
    const theme = own.asset('theme.css');
    expect(theme?.body.toString()).toContain('--accent: #085');
    expect(theme?.type).toBe('text/css; charset=utf-8');
    expect(own.render('signed-out', {}, page)).toContain(`/assets/theme.css?v=${theme?.etag.slice(1, -1)}`);
    expect(own.asset('locales/en.json')).toBeUndefined();
    expect(own.asset('../package.json')).toBeUndefined();
  });
});
