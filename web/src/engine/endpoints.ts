// The list of regions to connect to, best first, and which of them failed lately.

import { trimSlash } from '../protocol/types';
import type { Endpoint } from '../protocol/types';
import type { Clock } from './clock';

/** How long a failed endpoint stands behind the others. A region is back in the router's list well after that. */
const avoid_ms = 30_000;

export class Endpoints {
  private list: Endpoint[] = [];
  private failures = new Map<string, number>();
  /** When a region could not be reached, or went without a word; by name. */
  private silent = new Map<string, number>();

  constructor(private readonly clock: Clock) {}

  /** replace takes a newer list; what is known about failures stays. An empty list is no news. */
  replace(list: readonly Endpoint[] | undefined): void {
    if (!list?.length) return;
    this.list = list.map((endpoint) => ({ ...endpoint, url: trimSlash(endpoint.url) }));
  }

  all(): readonly Endpoint[] {
    return this.list;
  }

  /** pick gives the best endpoint that did not fail lately, else the one whose failure is the oldest. */
  pick(): Endpoint | undefined {
    return this.ranked()[0];
  }

  /** ranked gives all endpoints in the order to try them. */
  ranked(): Endpoint[] {
    const now = this.clock.now();
    const failedAt = (endpoint: Endpoint): number => {
      const at = this.failures.get(endpoint.url);
      return at === undefined || now - at >= avoid_ms ? 0 : at;
    };
    return this.list
      .map((endpoint, rank) => ({ endpoint, rank, failed: failedAt(endpoint) }))
      .sort((a, b) => a.failed - b.failed || a.rank - b.rank)
      .map(({ endpoint }) => endpoint);
  }

  failed(url: string): void {
    this.failures.set(trimSlash(url), this.clock.now());
  }

  worked(endpoint: Endpoint): void {
    this.failures.delete(trimSlash(endpoint.url));
    this.silent.delete(endpoint.region);
  }

  /** unreached notes a region that could not be reached, or went without a word. */
  unreached(region: string): void {
    if (region !== '') this.silent.set(region, this.clock.now());
  }

  /** toldOf gives the regions that were not reached of late, sorted: it is told to the one asked next, so that probes look there soon. */
  toldOf(asked = ''): string[] {
    const now = this.clock.now();
    return [...this.silent].filter(([region, at]) => region !== asked && now - at < avoid_ms).map(([region]) => region).sort();
  }

  /** exhausted tells whether every endpoint failed lately: walking on at once would only hammer them. */
  exhausted(): boolean {
    const now = this.clock.now();
    return this.list.every(({ url }) => now - (this.failures.get(url) ?? -Infinity) < avoid_ms);
  }

  /** forgive forgets the failures: the network came back, so they say nothing about the regions. */
  forgive(): void {
    this.failures.clear();
    this.silent.clear();
  }
}
