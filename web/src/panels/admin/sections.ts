/** Which administration pages there are, and who sees them. A new page is a line here. */
import type { ComponentType } from 'react';
import type { IconName } from '../../ui/icons';
import { Explain } from './Explain';
import { Keys } from './Keys';
import { Peers } from './Peers';
import { People } from './People';
import { Policies } from './Policies';
import { Providers } from './Providers';
import { OwnSessions, Sessions } from './Sessions';
import { Tenants } from './Tenants';

export interface SectionProps {
  readonly tenant: string | null;
  /** Whether whoever looks may do something here. */
  readonly may: (action: string) => boolean;
}

export interface Section {
  /** Its part of the address. */
  readonly id: string;
  readonly title: string;
  readonly icon: IconName;
  readonly group: 'Access' | 'Installation' | 'Yourself';
  /** The action without which there is nothing to see. */
  readonly needs: string;
  readonly Content: ComponentType<SectionProps>;
}

export const SECTIONS: readonly Section[] = [
  { id: 'people', title: 'People', icon: 'person', group: 'Access', needs: 'people:person:list', Content: People },
  { id: 'keys', title: 'Keys', icon: 'key', group: 'Access', needs: 'people:key:list', Content: Keys },
  { id: 'sessions', title: 'Sessions', icon: 'screen', group: 'Access', needs: 'people:session:list', Content: Sessions },
  { id: 'providers', title: 'Providers', icon: 'enter', group: 'Access', needs: 'people:provider:list', Content: Providers },
  { id: 'policies', title: 'Policies', icon: 'shield', group: 'Access', needs: 'policy:rule:list', Content: Policies },
  { id: 'explain', title: 'Why?', icon: 'question', group: 'Access', needs: 'policy:decision:explain', Content: Explain },
  { id: 'peers', title: 'Peers', icon: 'plug', group: 'Installation', needs: 'peers:peer:list', Content: Peers },
  { id: 'tenants', title: 'Tenants', icon: 'building', group: 'Installation', needs: 'tenants:tenant:configure', Content: Tenants },
  { id: 'you', title: 'Your sign-ins', icon: 'leave', group: 'Yourself', needs: 'people:self:read', Content: OwnSessions },
];
