/** What the pages are given on which a person answers for something that goes on elsewhere: a device, or an application's question. */
import type { Problem, ResourceWords } from './view-props.ts';

/** Posts `xsrf`, `user_code`. */
export interface DeviceCodeView {
  action: string;
  xsrf: string;
  /** What was typed, to be corrected. */
  userCode: string;
  problems: Problem[];
  /** Where signing in leads, for somebody who may go on only then. */
  signInHref?: string;
}

/** Two forms: both post `xsrf` and `user_code`, and `confirm` or `abort`. */
export interface DeviceConfirmView {
  action: string;
  xsrf: string;
  /** As the device shows it. */
  userCode: string;
  clientName: string;
  /** What the device that asks says of itself; empty when nothing is known. */
  device: string;
  address: string;
  /** Whoever is signed in here; nobody is asked to sign in next. */
  account?: { name: string; email: string };
}

/** How it ended, to be read on the phone while one turns to the device. */
export interface DeviceDoneView {
  outcome: 'connected' | 'refused';
  clientName?: string;
  accountHref: string;
  /** Where another code can be entered. */
  againHref: string;
}

/** An application's question that waits for the person. */
export interface WaitingRequest {
  id: string;
  clientName: string;
  /** Whether somebody answers here for what it says of itself. */
  verified: boolean;
  /** The host that its document comes from. */
  comesFrom?: string;
  bindingMessage?: string;
  scopes: string[];
  claims: string[];
  resources: ResourceWords[];
  address: string;
  at: Date;
  expiresAt: Date;
}

/** `approveAction` and `denyAction` are posted with `id`. */
export interface RequestsView {
  requests: WaitingRequest[];
  approveAction: string;
  denyAction: string;
  /** This page, to look again. */
  reloadHref: string;
  /** A key under `notices`. */
  notice?: string;
  problems: Problem[];
}
