// Parts that the first screen does not need. They are fetched right after it, not on the click: by then the server that
// the page came from may be gone.

import { Suspense, lazy } from 'react';
import type { ComponentType } from 'react';

type Loader<Props> = () => Promise<{ default: ComponentType<Props> }>;

/** later makes a component that is loaded apart from the page. When that fails, it says so in its place. */
function later<Props extends object>(load: Loader<Props>): ComponentType<Props> {
  const loading = load().catch(() => ({ default: Missing as ComponentType<Props> }));
  const Part = lazy(() => loading);
  return function Later(props: Props) {
    return (
      <Suspense>
        <Part {...props} />
      </Suspense>
    );
  };
}

function Missing() {
  return (
    <p className="empty" role="alert">
      This part of the page could not be loaded. Reload the page once the server can be reached.
    </p>
  );
}

export const Conversation = later(() => import('./Conversation'));
export const Settings = later(() => import('./Settings'));
export const WhyRegion = later(() => import('./WhyRegion'));
export const NewGroup = later(() => import('./NewGroup'));
export const GroupPage = later(() => import('./GroupPage'));
