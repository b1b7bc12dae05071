// Places that a person goes to again. Passwords and keys are in a profile only
// if they asked for it, and then sealed by a passphrase.

import { type Sealed, seal, unseal } from "./secrets.ts";
import { type Store, readJSON } from "./storage.ts";

/** How a person wants to prove who they are. */
export type AuthChoice = "password" | "interactive" | "key" | "securitykey";

export interface JumpPlace {
  host: string;
  port: number;
  user: string;
}

export interface Profile {
  id: string;
  name: string;
  host: string;
  port: number;
  user: string;
  auth: AuthChoice;
  /** The public half, so that a person sees which key it was. */
  publicKey?: string;
  agentForward?: boolean;
  jump?: JumpPlace;
  sealed?: Sealed;
}

/** What is worth a passphrase. */
export interface Secrets {
  password?: string;
  privateKey?: string;
  keyPassphrase?: string;
  certificate?: string;
}

const KEY = "profiles";
/** As many as a list can still be looked through. */
const MOST = 200;

export class Profiles {
  constructor(private store: Store) {}

  list(): Profile[] {
    const found = readJSON(this.store, KEY);
    return Array.isArray(found) ? found.filter(isProfile) : [];
  }

  /** Saves it in place of the one with the same id; the list is by name. */
  save(profile: Profile): void {
    const others = this.list().filter(({ id }) => id !== profile.id);
    this.write([...others, profile].sort((a, b) => a.name.localeCompare(b.name)).slice(0, MOST));
  }

  async saveWithSecrets(profile: Profile, secrets: Secrets, passphrase: string): Promise<void> {
    this.save({ ...profile, sealed: await seal(secrets, passphrase) });
  }

  /** Throws WrongPassphrase. */
  async secrets(profile: Profile, passphrase: string): Promise<Secrets> {
    return profile.sealed ? await unseal(profile.sealed, passphrase) as Secrets : {};
  }

  remove(id: string): void {
    this.write(this.list().filter((profile) => profile.id !== id));
  }

  private write(profiles: Profile[]): void {
    this.store.set(KEY, JSON.stringify(profiles));
  }
}

function isProfile(value: unknown): value is Profile {
  const profile = value as Profile;
  return isPlace(value) && typeof profile.id === "string" && typeof profile.name === "string" && (profile.jump === undefined || isPlace(profile.jump));
}

function isPlace(value: unknown): value is JumpPlace {
  const place = value as JumpPlace;
  return typeof place === "object" && place !== null && typeof place.host === "string" && typeof place.port === "number" && typeof place.user === "string";
}
