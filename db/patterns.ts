/** Text in patterns of `like`. */

/** Every character stands for itself. */
export const literally = (text: string): string => text.replace(/[\\%_]/g, '\\$&');
