/** Where the user is: the address bar is the only truth. */
import { parsePlace, type Place } from '../client/place';
import { Signal } from './signal';

export const place = new Signal<Place>(parsePlace(location.pathname));

addEventListener('popstate', () => place.set(parsePlace(location.pathname)));

/** Go to a path of this app without loading the page again. */
export function navigate(path: string): void {
  if (path !== location.pathname) history.pushState(null, '', path);
  place.set(parsePlace(path));
}
