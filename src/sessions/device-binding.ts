/**
 * Whether a session's cookie comes from the browser that signed in. That browser has a device cookie as well, and its kind
 * (Firefox, Safari) does not change; its version does, with every update, and so does the system that it names where a
 * page is shown as on a desktop. Whoever copies all cookies of a browser, and its name, is not noticed by this.
 */
import { parseDevice } from './device.ts';

export type DeviceBinding = 'off' | 'challenge' | 'refuse';

/** What a session remembers of the browser that signed in; nothing where none did. */
export interface BoundDevice {
  deviceHash: string | null;
  deviceUserAgent: string | null;
}

/** @param shown what the request's browser shows; its hash is undefined without a device cookie */
export const isSameBrowser = (
  { deviceHash, deviceUserAgent }: BoundDevice,
  shown: { deviceHash: string | undefined; userAgent: string },
): boolean => {
  if (deviceHash === null) return true;
  if (shown.deviceHash !== deviceHash) return false;
  // Parsing takes time, and most requests come from the very same version.
  return (
    deviceUserAgent === null ||
    shown.userAgent === deviceUserAgent ||
    parseDevice(shown.userAgent).browser === parseDevice(deviceUserAgent).browser
  );
};
