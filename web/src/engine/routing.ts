// Which regions to go to: asked of /v1/route, remembered across reloads, changed when the client is elsewhere.

import { Rest } from '../protocol/rest';
import type { Endpoint, Route } from '../protocol/types';
import { readRoute, saveRoute } from '../store/accounts';
import type { Clock } from './clock';
import { Endpoints } from './endpoints';

export interface RoutingOptions {
  clock: Clock;
  /** Where the page came from: the first to ask, and the only one known at the very start. */
  origin: string;
  as: () => string | undefined;
  onRoute: (route: Route) => void;
}

export class Routing {
  readonly endpoints: Endpoints;
  private user_id = '';

  constructor(private readonly options: RoutingOptions) {
    this.endpoints = new Endpoints(options.clock);
  }

  /** bases gives the URLs to send REST calls to, best first. */
  bases(current?: Endpoint): string[] {
    const ranked = this.endpoints.ranked().map(({ url }) => url);
    if (current) return [current.url, ...ranked];
    return ranked.length > 0 ? ranked : [this.options.origin];
  }

  /** recall takes the remembered route of a user; false when there is none that still holds. */
  recall(user_id: string): boolean {
    this.user_id = user_id;
    const route = readRoute(user_id, this.options.as());
    if (!route?.endpoints.length) return false;
    this.endpoints.replace(route.endpoints);
    this.options.onRoute(route);
    return route.expires === undefined || Date.parse(route.expires) > this.options.clock.now();
  }

  /** ask gets a fresh route from whoever answers. It throws RestError when nobody does. */
  async ask(token?: string): Promise<Route> {
    const route = await this.asker(token).route({ as: this.options.as(), failed: this.endpoints.toldOf() });
    this.take(route);
    if (this.user_id !== '') saveRoute(this.user_id, this.options.as(), route);
    return route;
  }

  /**
   * askForSignIn points the list at where a name may be handled, without telling the name: by the first digits of its
   * hash, or by the zone chosen at sign-up. Nobody answering is no reason to stop: the regions themselves may.
   */
  async askForSignIn(ask: { zone?: string; name?: string }): Promise<void> {
    try {
      const route = await this.asker(undefined).route({ as: this.options.as(), ...ask, anonymous: true });
      this.options.onRoute(route);
      this.endpoints.replace(signInEndpoints(route));
    } catch {
      if (this.endpoints.all().length === 0) this.endpoints.replace([{ region: '', url: this.options.origin }]);
    }
  }

  private asker(token: string | undefined): Rest {
    return new Rest({
      bases: () => [this.options.origin, ...this.endpoints.ranked().map(({ url }) => url)],
      ...(token === undefined ? {} : { token: () => Promise.resolve(token) }),
    });
  }

  private take(route: Route): void {
    this.endpoints.replace(route.endpoints);
    this.options.onRoute(route);
  }
}

/**
 * signInEndpoints gives where a password may go. Several zones may hold names of the asked hash: a region that serves all
 * of them is right whichever it is, and only without one are all of them tried.
 */
export function signInEndpoints(route: Route): Endpoint[] {
  const zones = route.zones ?? [];
  const union = new Map(zones.flatMap(({ endpoints }) => endpoints).map((endpoint) => [endpoint.url, endpoint]));
  const common = [...union.values()].filter(({ url }) => zones.every((zone) => zone.endpoints.some((other) => other.url === url)));
  if (common.length > 0) return common;
  return union.size > 0 ? [...union.values()] : route.endpoints;
}
