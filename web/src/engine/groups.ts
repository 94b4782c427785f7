// Groups: making one, its name, and who is in it. All of it is asked of a region and shown when that says so.

import { randomUUID } from '../protocol/ids';
import type { Rest } from '../protocol/rest';
import type { GroupInfo, GroupRow, Member } from '../protocol/types';
import type { Writer } from '../store/storage';
import type { Conversations } from './conversations';
import { applyList } from './lists';
import type { ChatStore } from './state';
import { joinedOf, withSteps } from './steps';

export const groupLimits = {
  name_length: 64,
  /** Who can be named when a group is made; more are invited later. */
  first_members: 32,
  /** Pages of members that are read, of 100 each. */
  pages: 10,
};

export interface GroupsOptions {
  store: ChatStore;
  writer: Writer;
  rest: Pick<Rest, 'createGroup' | 'group' | 'renameGroup' | 'putMember' | 'deleteMember'>;
  conversations: Pick<Conversations, 'open' | 'refetch'>;
}

export class Groups {
  constructor(private readonly options: GroupsOptions) {}

  /** create makes a group and opens it. The same client_id again gives the same group, so a lost answer costs nothing. */
  async create(client_id: string, name: string, members: string[]): Promise<void> {
    const group = await this.options.rest.createGroup({ client_id, name, members });
    this.take(group);
    this.options.conversations.open(group.id);
  }

  async rename(id: string, name: string): Promise<void> {
    this.take(await this.options.rest.renameGroup(id, { client_id: randomUUID(), name }));
  }

  /** setMember invites somebody, or gives a member another role. */
  async setMember(id: string, username: string, role: 'member' | 'admin'): Promise<void> {
    await this.options.rest.putMember(id, username, { client_id: randomUUID(), role });
    await this.load(id);
    this.options.conversations.refetch();
  }

  /** removeMember removes somebody; under the own name it leaves. */
  async removeMember(id: string, username: string): Promise<void> {
    const { store, rest, conversations } = this.options;
    await rest.deleteMember(id, username);
    const row = store.getState().conversations[id];
    if (username === store.getState().me?.username && row?.kind === 'group') this.take({ ...row, role: 'none' });
    else await this.load(id);
    conversations.refetch();
  }

  /** changed reads the members again where they were read before. */
  changed(id: string): void {
    const { groups, open } = this.options.store.getState();
    if (groups[id] !== undefined || open === id) void this.load(id).catch(() => undefined); // the next link reads them
  }

  /** load reads who is in a group. */
  async load(id: string): Promise<void> {
    const { store, rest } = this.options;
    const members: Member[] = [];
    let info: GroupInfo | undefined;
    for (let page = 0; page < groupLimits.pages; page++) {
      info = await rest.group(id, info?.next);
      members.push(...info.members);
      if (info.next === undefined) break;
    }
    const row = store.getState().conversations[id];
    store.setState({ groups: { ...store.getState().groups, [id]: members } });
    if (!info || row?.kind !== 'group') return;
    const steps = withSteps(row.steps, joinedOf(members, store.getState().me?.user_id));
    this.take({ ...row, name: info.name, role: info.role, member_count: info.member_count, steps });
  }

  private take(group: GroupRow): void {
    const { store, writer } = this.options;
    const effect = applyList(store.getState(), [group]);
    store.setState(effect.state);
    void writer.add(effect.batch);
  }
}
