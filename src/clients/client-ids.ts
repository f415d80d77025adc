/** What a `client_id` can be. */

/** RFC 6749 appendix A.1: anything else is nobody's identifier, and some of it PostgreSQL would not even take. */
export const isClientId = (id: string): boolean => /^[\x20-\x7e]+$/.test(id);
