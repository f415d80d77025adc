/**
 * The documentation of the settings, generated from their declaration in `config.ts`: `.env.example`, and the table
 * between the markers in README.md. `npm run docs` rewrites both; a unit test compares them.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { secretNames, settings } from './settings.ts';

export interface SettingDocs {
  name: string;
  description: string;
  /** As one would write it in the environment; undefined when the setting has no default. */
  initial: string | undefined;
  /** The values to choose from, when they are a fixed set. */
  choices: readonly string[];
  /** Whether `<NAME>_FILE` may name a file with the value. */
  secret: boolean;
}

const units = [
  ['d', 86_400],
  ['h', 3600],
  ['m', 60],
] as const;

const asDuration = (seconds: number): string => {
  const unit = units.find(([, size]) => seconds >= size && seconds % size === 0);
  return unit ? `${seconds / unit[1]}${unit[0]}` : `${seconds}s`;
};

/** The default in the notation of the environment: a duration is the one number that a string is transformed to. */
const written = (value: unknown, schema: z.core.$ZodType): string | undefined => {
  if (value === undefined) return undefined;
  if (Array.isArray(value)) return value.length ? value.join(',') : undefined;
  return typeof value === 'number' && schema instanceof z.ZodPipe ? asDuration(value) : String(value);
};

/** Every setting, in the order of the declaration. */
export const settingDocs = (): SettingDocs[] =>
  Object.entries(settings.shape).map(([name, schema]) => {
    const inner = schema instanceof z.ZodDefault || schema instanceof z.ZodOptional ? schema.unwrap() : schema;
    return {
      name,
      description: schema.meta()?.description ?? '',
      initial: written(schema.parse(undefined), inner),
      choices: inner instanceof z.ZodEnum ? inner.options.map(String) : [],
      secret: secretNames.some((secret) => secret === name),
    };
  });

const withChoices = ({ description, choices }: SettingDocs, quote = ''): string =>
  choices.length
    ? `${description}. One of ${choices.map((choice) => `${quote}${choice}${quote}`).join(', ')}`
    : description;

/** Breaks a sentence into comment lines of at most 100 characters. */
const comment = (text: string): string => text.replace(/(?=.{99})(.{1,98}) /g, '$1\n').replace(/^/gm, '# ');

const heading =
  'The settings of Countersign. Generated from src/settings.ts by `npm run docs`: change them there. ' +
  'Everything is optional in development. Copy this file to .env and uncomment what you change: npm start, the other ' +
  'commands and docker compose read it. What is set in the environment wins.';

/** The text of `.env.example`: every setting, commented out, with its default. */
export const envExample = (): string =>
  [
    comment(heading),
    ...settingDocs().map((setting) => {
      const { name, initial = '', secret } = setting;
      const file = secret ? `\n${comment(`Or ${name}_FILE, a file that holds it`)}` : '';
      return `\n${comment(withChoices(setting).replaceAll('`', ''))}${file}\n#${name}=${/[\s<>]/.test(initial) ? `"${initial}"` : initial}`;
    }),
    '',
  ].join('\n');

const cell = (text: string): string => text.replaceAll('|', '\\|');

/** The table for README.md. */
export const settingsTable = (): string =>
  [
    '| Setting | Default | Meaning |',
    '|---|---|---|',
    ...settingDocs().map((setting) => {
      const { name, initial, secret } = setting;
      const names = secret ? `\`${name}\` or \`${name}_FILE\`` : `\`${name}\``;
      return `| ${names} | ${initial === undefined ? '' : `\`${cell(initial)}\``} | ${cell(withChoices(setting, '`'))} |`;
    }),
  ].join('\n');

const markers = ['<!-- settings -->', '<!-- /settings -->'] as const;

/** What stands between the markers, without the line breaks around it. @throws Error when a marker is missing. */
export const markedTable = (readme: string): string => {
  const [start, end] = markers.map((marker) => readme.indexOf(marker)) as [number, number];
  if (start === -1 || end < start) throw new Error(`README.md needs the lines ${markers.join(' and ')}`);
  return readme.slice(start + markers[0].length, end).trim();
};

const rewrite = (): void => {
  writeFileSync(new URL('../.env.example', import.meta.url), envExample());
  const file = new URL('../README.md', import.meta.url);
  const readme = readFileSync(file, 'utf8');
  const [before, after] = [readme.slice(0, readme.indexOf(markers[0])), readme.slice(readme.indexOf(markers[1]))];
  markedTable(readme);
  writeFileSync(file, `${before}${markers[0]}\n${settingsTable()}\n${after}`);
};

if (import.meta.main) rewrite();
