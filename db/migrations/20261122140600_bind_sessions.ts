/** Where a session was begun, and on which device: its cookie is worth less on another one (DEVICE_BINDING). */

export const up = [
  // Empty for sessions from before, and for those that no browser has: they are bound to no device.
  `alter table sessions
    add column country text,
    add column city text,
    add column device_hash text,
    add column device_user_agent text`,
];

export const down = [
  `alter table sessions
    drop column device_user_agent,
    drop column device_hash,
    drop column city,
    drop column country`,
];
