/**
 * The hosted pages and mails: typed props in, HTML out. Templates, styles and translations are files in `views/`; an
 * operator may lay a folder of the same shape over them. Everything is read and compiled once, when the views are
 * created, and a page is a pure function of its props and its context.
 *
 * Every value is escaped unless a template writes `<%~ … %>`, which is kept for HTML that was built here.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Eta } from 'eta';
import { createInstance, type i18n } from 'i18next';
import { describePlace } from '../src/sessions/place.ts';
import type { CodeSms, MailProps } from './mail-props.ts';
import type { PageContext, ViewProps } from './view-props.ts';

/** A static file of the pages. */
export interface Asset {
  body: Buffer;
  type: string;
  etag: string;
}

/** Renders pages and mails, and holds what they link to. */
export interface Views {
  /** A whole HTML document. */
  render<V extends keyof ViewProps>(view: V, props: ViewProps[V], page: PageContext): string;
  /** A mail, as text and as HTML. */
  mail<M extends keyof MailProps>(
    mail: M,
    props: MailProps[M],
    locale: string,
  ): { subject: string; text: string; html: string };
  /** The text of an SMS with a code. */
  sms(props: CodeSms, locale: string): string;
  /** The languages there are, by their files in `views/locales/`. */
  locales: readonly string[];
  /** The best of our languages for what a person wants, most wanted first ("de-AT" finds "de"); else "en". */
  negotiate(wanted: readonly string[]): string;
  /** A file to serve as `/assets/<name>`. Pages ask for it with its content hash as `?v=`, so it may be cached for good. */
  asset(name: string): Asset | undefined;
}

type Values = Record<string, string | number>;
type Messages = { [key: string]: string | Messages };

const views = fileURLToPath(new URL('../views/', import.meta.url));
const assetTypes: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.webp': 'image/webp',
  '.ico': 'image/x-icon',
};

/** Every file of the given kinds by its name relative to the folder, with forward slashes. */
const filesIn = (folder: string): Map<string, string> => {
  const entries = existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }) : [];
  return new Map(
    entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [relative(folder, path).split(sep).join('/'), path]),
  );
};

export const escapeHtml = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0) ?? 0};`);

/** Characters that reorder or hide text around them have no place in the name of an app. */
const visible = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ').trim();

/**
 * A link we did not write, from a client's registration: only http(s) and our own paths, never `javascript:`.
 * "" is an address that can't be shown as a link.
 */
const safeHref = (href: string): string => (/^(https?:\/\/|\/(?![/\\]))/i.test(href) ? href : '');

const safeImage = (source: string | undefined): string | undefined =>
  source && /^(data:image\/|\/(?![/\\]))/i.test(source) ? source : undefined;

/** Deep merge, the operator's words over ours. */
const merge = (base: Messages, over: Messages): Messages => {
  const merged: Messages = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const current = merged[key];
    merged[key] = typeof value === 'object' && typeof current === 'object' ? merge(current, value) : value;
  }
  return merged;
};

const readMessages = (path: string | undefined): Messages =>
  path ? (JSON.parse(readFileSync(path, 'utf8')) as Messages) : {};

const loadTranslations = (base: Map<string, string>, overlay: Map<string, string>): i18n => {
  const files = [...new Set([...base.keys(), ...overlay.keys()])].filter((name) => /^locales\/[^/]+\.json$/.test(name));
  const resources = Object.fromEntries(
    files.map((name) => [
      name.slice('locales/'.length, -'.json'.length),
      { translation: merge(readMessages(base.get(name)), readMessages(overlay.get(name))) },
    ]),
  );
  const translations = createInstance({
    resources,
    fallbackLng: 'en',
    initAsync: false,
    interpolation: { escapeValue: false }, // Eta escapes what it writes
    returnNull: false,
  });
  void translations.init();
  return translations;
};

const loadTemplates = (files: Map<string, string>): Eta => {
  const eta = new Eta({ autoEscape: true, cache: true });
  for (const [name, path] of files) {
    if (name.endsWith('.eta')) eta.loadTemplate(`@${name.slice(0, -'.eta'.length)}`, readFileSync(path, 'utf8'));
  }
  return eta;
};

const loadAssets = (files: Map<string, string>): Map<string, Asset> => {
  const assets = new Map<string, Asset>();
  for (const [name, path] of files) {
    const type = assetTypes[extname(name)];
    if (!type || name.includes('/')) continue;
    const body = readFileSync(path);
    assets.set(name, { body, type, etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 16)}"` });
  }
  return assets;
};

/** RFC 4647 section 3.4, lookup: drop subtags from the end until one of ours is left. */
const lookup = (locales: readonly string[], wanted: readonly string[]): string => {
  // What is wanted comes from whoever asks: it may cost no more than a person's settings would.
  for (const range of wanted.slice(0, 20)) {
    if (range.length > 35) continue;
    const subtags = range.toLowerCase().split(/[-_]/);
    while (subtags.length > 0) {
      const found = locales.find((locale) => locale.toLowerCase() === subtags.join('-'));
      if (found) return found;
      subtags.pop();
    }
  }
  return 'en';
};

/** How many texts are remembered of a language; there are fewer. */
const textsMax = 5000;

/** What one language says: texts, dates and durations. */
const languageTools = (translations: i18n, locale: string) => {
  const translate = translations.getFixedT(locale);
  /** What is said without values is looked up once: a page has thirty such texts. */
  const said = new Map<string, string>();
  const t = (key: string | string[], values?: Values): string => {
    if (values) return String(translate(key, values));
    const name = String(key);
    let text = said.get(name);
    if (text === undefined) {
      text = String(translate(key));
      if (said.size < textsMax) said.set(name, text);
    }
    return text;
  };
  const numerals = `${locale}-u-nu-latn`;
  // Made when a date is first told: what Intl knows takes megabytes.
  let dates: Intl.DateTimeFormat | undefined;

  /** Such texts, escaped, with marks where values go. */
  const marked = new Map<string, string>();
  const markedText = (key: string, names: readonly string[]): string => {
    const id = `${key} ${names}`;
    let text = marked.get(id);
    if (text === undefined) {
      text = escapeHtml(t(key, Object.fromEntries(names.map((name, index) => [name, `\uE000${index}\uE001`]))));
      if (marked.size < textsMax) marked.set(id, text);
    }
    return text;
  };
  /** The translation, escaped, its values each in a <bdi> so that a name can't disturb the sentence around it. */
  const rich = (key: string, values: Values): string => {
    const names = Object.keys(values);
    return markedText(key, names).replace(
      /\uE000(\d+)\uE001/g,
      (_, index) => `<bdi>${escapeHtml(String(values[names[Number(index)] ?? ''] ?? ''))}</bdi>`,
    );
  };
  /** "30 minutes", "1 hour": the language's own plural. */
  const duration = (minutes: number): string => {
    const unit = minutes % 1440 === 0 ? 'day' : minutes % 60 === 0 ? 'hour' : 'minute';
    const format = new Intl.NumberFormat(numerals, { style: 'unit', unit, unitDisplay: 'long' });
    return format.format(minutes / { day: 1440, hour: 60, minute: 1 }[unit]);
  };
  /** What a scope or claim means, or undefined if no translation file knows it. English has every key. */
  const known = (group: 'scopes' | 'claims') => {
    const bundle = translations.getResourceBundle('en', 'translation') as Record<typeof group, Messages>;
    return (name: string) => (Object.hasOwn(bundle[group], name) ? t(`${group}.${name}`) : undefined);
  };
  const placeName = (place: { country?: string; city?: string }) => describePlace(place, locale);
  const when = (date: Date): string => {
    dates ??= new Intl.DateTimeFormat(numerals, { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' });
    return `${dates.format(date)} UTC`;
  };
  const time = (date: Date): string =>
    `<time datetime="${date.toISOString()}"><bdi>${escapeHtml(when(date))}</bdi></time>`;

  return {
    locale,
    dir: t('language.dir'),
    t,
    rich,
    duration,
    placeName,
    when,
    time,
    scopeText: known('scopes'),
    claimText: known('claims'),
  };
};

/**
 * A name in a mail was typed by whoever registered, perhaps with a stranger's address: one that carries a link is
 * somebody else's message, and is left out.
 */
const mailName = (name: string): string => {
  const clean = visible(name).replace(/\s+/g, ' ');
  return clean.length > 80 || /:\/\/|www\.|\w\.\p{L}{2,}/u.test(clean) ? '' : clean;
};

/** Reads `views/` and the operator's folder over it. `brand` is the product name shown where no app asks. */
export const createViews = ({ overlay, brand }: { overlay?: string; brand: string }): Views => {
  const base = filesIn(views);
  const over = overlay ? filesIn(overlay) : new Map<string, string>();
  const files = new Map([...base, ...over]);
  const eta = loadTemplates(files);
  const assets = loadAssets(files);
  const translations = loadTranslations(base, over);
  const locales = Object.keys(translations.options.resources ?? {}).sort();
  const tools = new Map(locales.map((locale) => [locale, languageTools(translations, locale)]));
  const toolsFor = (wanted: string) => tools.get(lookup(locales, [wanted])) ?? languageTools(translations, 'en');

  const assetHref = (name: string): string | undefined => {
    const asset = assets.get(name);
    return asset && `/assets/${name}?v=${asset.etag.slice(1, -1)}`;
  };
  const linksTo = (url: URL, current: string) =>
    locales.map((locale) => {
      url.searchParams.set('lang', locale);
      const { t, dir } = toolsFor(locale);
      return { locale, name: t('language.name'), dir, href: url.pathname + url.search, current: locale === current };
    });
  const languageLinks = (path: string, current: string) =>
    safeHref(path) === '' ? [] : linksTo(new URL(path, 'http://same.origin'), current);

  return {
    locales,
    negotiate: (wanted) => lookup(locales, wanted),
    asset: (name) => assets.get(name),

    render(view, props, page) {
      const language = toolsFor(page.locale);
      const { t, duration } = language;
      const problems = ('problems' in props ? props.problems : []).map(({ field, code, values = {} }) => ({
        field,
        text: t([`problems.${code}`, 'problems.generic'], {
          ...values,
          ...(typeof values.minutes === 'number' ? { duration: duration(values.minutes) } : {}),
        }),
      }));
      const client = page.client && {
        ...page.client,
        name: visible(page.client.name),
        logo: safeImage(page.client.logo),
      };
      const step = 'title' in props ? t([`errors.${props.title}.title`, 'errors.generic.title']) : t(`${view}.title`);
      const title = `${step} · ${client?.name ?? brand}`;
      return eta.render(`@${view}`, {
        ...props,
        ...language,
        props,
        view,
        page,
        brand,
        client,
        problems,
        problemAt: (field: string) => problems.find((problem) => problem.field === field)?.text,
        title: problems.length > 0 ? t('layout.errorTitle', { title }) : title,
        heading: step,
        asset: assetHref,
        href: safeHref,
        languages: languageLinks(page.path, language.locale),
      });
    },

    mail(mail, props, locale) {
      const language = toolsFor(locale);
      const subject = language.t(`mail.${mail}.subject`, { brand });
      // One line each: what came in a User-Agent or a name can't add lines to a text mail.
      const clean = Object.fromEntries(
        Object.entries(props).map(([name, value]) => [name, typeof value === 'string' ? visible(value) : value]),
      );
      const write = (form: 'html' | 'text'): string => {
        const data = { ...clean, ...language, brand, subject, name: mailName(props.name) };
        const part = (name: string): string => `@mail/${form}/${name}`;
        const body = eta.render(`@mail/${mail}`, { ...data, part });
        return eta.render(part('layout'), { ...data, part, body });
      };
      const text = write('text').replace(/\n{3,}/g, '\n\n');
      return { subject, text: `${text.trim()}\n`, html: write('html') };
    },

    sms: (props, locale) => eta.render('@sms/code', { ...props, ...toolsFor(locale), brand }).trim(),
  };
};
