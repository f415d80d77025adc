/** Where a network address is, as far as a database of addresses (GEOIP_DB) can tell. */

/** What is not known is left out. */
export interface Place {
  /** ISO 3166-1 alpha-2. */
  country?: string;
  /** In English. */
  city?: string;
  /** Degrees, of the middle of what is known. */
  latitude?: number;
  longitude?: number;
  /** The address is probably within so many kilometres of that point. */
  radiusKm?: number;
  /** The autonomous system (RFC 1930) that announces the address, as `AS64496`. */
  network?: string;
}

/** Looks an address up; undefined when nothing is known, or nothing can be. */
export type Locate = (address: string | undefined) => Place | undefined;

const degrees = Math.PI / 180;
const earthRadiusKm = 6371;

/** The great-circle distance of two points, in kilometres, by the haversine formula. */
export const distanceKm = (
  from: { latitude: number; longitude: number },
  to: { latitude: number; longitude: number },
): number => {
  const [north, east] = [(to.latitude - from.latitude) * degrees, (to.longitude - from.longitude) * degrees];
  const chord =
    Math.sin(north / 2) ** 2 +
    Math.cos(from.latitude * degrees) * Math.cos(to.latitude * degrees) * Math.sin(east / 2) ** 2;
  // Rounding may lift opposite points just above 1.
  return 2 * earthRadiusKm * Math.asin(Math.sqrt(Math.min(1, chord)));
};

/** "Linköping, Sweden" in a language; empty when nothing is known. */
export const describePlace = (
  { country, city }: { country?: string | null | undefined; city?: string | null | undefined },
  locale: string,
): string => {
  // What is no code of a country is refused by Intl.
  const known = country && /^[A-Za-z]{2}$/.test(country) ? country : undefined;
  const name = known && new Intl.DisplayNames([locale, 'en'], { type: 'region', fallback: 'code' }).of(known);
  return [city, name].filter(Boolean).join(', ');
};
