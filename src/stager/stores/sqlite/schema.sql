CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
)

CREATE TABLE environments (
	seq INTEGER NOT NULL,
	id TEXT NOT NULL,
	app TEXT NOT NULL,
	subject TEXT NOT NULL,
	name TEXT NOT NULL,
	host TEXT NOT NULL,
	run TEXT NOT NULL,
	generation INTEGER NOT NULL,
	sha TEXT NOT NULL,
	ref TEXT NOT NULL,
	parameters TEXT NOT NULL,
	trust TEXT NOT NULL,
	suspension TEXT,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	change TEXT,
	comment_id TEXT NOT NULL,
	serving INTEGER,
	approved_sha TEXT NOT NULL, volume_epoch INTEGER DEFAULT 0 NOT NULL, has_cloned_data BOOLEAN DEFAULT 0 NOT NULL, depth TEXT DEFAULT 'paused' NOT NULL, min_idle FLOAT DEFAULT 0 NOT NULL, asleep_runs TEXT DEFAULT '[]' NOT NULL,
	CONSTRAINT pk_environments PRIMARY KEY (seq),
	CONSTRAINT uq_environments_app_subject UNIQUE (app, subject),
	CONSTRAINT uq_environments_id UNIQUE (id)
)

CREATE TABLE deployments (
	id TEXT NOT NULL,
	environment_id TEXT NOT NULL,
	sha TEXT NOT NULL,
	ref TEXT NOT NULL,
	generation INTEGER NOT NULL,
	failures INTEGER NOT NULL,
	retry_at INTEGER,
	outcome TEXT,
	final BOOLEAN NOT NULL,
	healthy_runs TEXT NOT NULL,
	created_at INTEGER NOT NULL,
	image TEXT NOT NULL,
	starting_at INTEGER,
	checking_at INTEGER,
	live_at INTEGER,
	ended_at INTEGER,
	log TEXT NOT NULL,
	building_at INTEGER,
	build TEXT NOT NULL,
	manifest TEXT NOT NULL, services TEXT DEFAULT '[]' NOT NULL, failed_services TEXT DEFAULT '{}' NOT NULL,
	CONSTRAINT pk_deployments PRIMARY KEY (id),
	CONSTRAINT uq_deployments_environment_id_generation UNIQUE (environment_id, generation),
	CONSTRAINT fk_deployments_environment_id FOREIGN KEY(environment_id) REFERENCES environments (id) ON DELETE CASCADE
)

CREATE TABLE environment_state (
	environment_id TEXT NOT NULL,
	kind TEXT NOT NULL,
	value TEXT NOT NULL,
	CONSTRAINT pk_environment_state PRIMARY KEY (environment_id, kind),
	CONSTRAINT fk_environment_state_environment_id FOREIGN KEY(environment_id) REFERENCES environments (id) ON DELETE CASCADE
)

CREATE TABLE deliveries (
	seq INTEGER NOT NULL,
	forge TEXT NOT NULL,
	id TEXT NOT NULL,
	event TEXT NOT NULL,
	received_at INTEGER NOT NULL,
	finished_at INTEGER,
	outcome TEXT,
	payload TEXT NOT NULL, about TEXT DEFAULT '' NOT NULL,
	CONSTRAINT pk_deliveries PRIMARY KEY (seq),
	CONSTRAINT uq_deliveries_forge_id UNIQUE (forge, id)
)

CREATE TABLE delivery_attempts (
	forge TEXT NOT NULL,
	delivery_id TEXT NOT NULL,
	count INTEGER NOT NULL,
	set_aside BOOLEAN DEFAULT 0 NOT NULL,
	CONSTRAINT pk_delivery_attempts PRIMARY KEY (forge, delivery_id),
	CONSTRAINT fk_delivery_attempts_deliveries FOREIGN KEY(forge, delivery_id) REFERENCES deliveries (forge, id) ON DELETE CASCADE
)

CREATE TABLE processed_events (
	repository_id TEXT NOT NULL,
	event TEXT NOT NULL,
	at INTEGER NOT NULL,
	CONSTRAINT pk_processed_events PRIMARY KEY (repository_id, event)
)

CREATE TABLE changes (
	repository_id TEXT NOT NULL,
	number INTEGER NOT NULL,
	owner TEXT NOT NULL,
	repository TEXT NOT NULL,
	is_open BOOLEAN NOT NULL,
	head_sha TEXT NOT NULL,
	head_ref TEXT NOT NULL,
	head_repository TEXT,
	base_ref TEXT NOT NULL,
	title TEXT NOT NULL,
	author TEXT NOT NULL,
	url TEXT NOT NULL,
	updated_at INTEGER NOT NULL,
	merged BOOLEAN NOT NULL,
	head_before TEXT NOT NULL,
	labels TEXT NOT NULL,
	draft BOOLEAN NOT NULL,
	description TEXT NOT NULL,
	author_is_bot BOOLEAN NOT NULL,
	CONSTRAINT pk_changes PRIMARY KEY (repository_id, number)
)

CREATE TABLE repositories (
	app TEXT NOT NULL,
	repository_id TEXT NOT NULL,
	owner TEXT NOT NULL,
	name TEXT NOT NULL,
	CONSTRAINT pk_repositories PRIMARY KEY (app, repository_id)
)

CREATE TABLE facts (
	name TEXT NOT NULL,
	value TEXT NOT NULL,
	CONSTRAINT pk_facts PRIMARY KEY (name)
)

CREATE TABLE sessions (
	id TEXT NOT NULL,
	digest TEXT NOT NULL,
	name TEXT NOT NULL,
	"by" TEXT NOT NULL,
	strategy TEXT NOT NULL,
	proof TEXT NOT NULL,
	created_at INTEGER NOT NULL,
	renewed_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	address TEXT NOT NULL,
	agent TEXT NOT NULL,
	CONSTRAINT pk_sessions PRIMARY KEY (id),
	CONSTRAINT uq_sessions_digest UNIQUE (digest)
)

CREATE TABLE tokens (
	id TEXT NOT NULL,
	digest TEXT NOT NULL,
	name TEXT NOT NULL,
	"by" TEXT NOT NULL,
	strategy TEXT NOT NULL,
	proof TEXT NOT NULL,
	label TEXT NOT NULL,
	role TEXT NOT NULL,
	apps TEXT,
	created_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	used_at INTEGER,
	revoked_at INTEGER,
	CONSTRAINT pk_tokens PRIMARY KEY (id),
	CONSTRAINT uq_tokens_digest UNIQUE (digest)
)

CREATE TABLE share_links (
	id TEXT NOT NULL,
	environment_id TEXT NOT NULL,
	created_by TEXT NOT NULL,
	note TEXT NOT NULL,
	created_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	revoked_at INTEGER,
	CONSTRAINT pk_share_links PRIMARY KEY (id),
	CONSTRAINT fk_share_links_environment_id FOREIGN KEY(environment_id) REFERENCES environments (id) ON DELETE CASCADE
)

CREATE TABLE audit (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	at INTEGER NOT NULL,
	actor TEXT NOT NULL,
	address TEXT NOT NULL,
	action TEXT NOT NULL,
	app TEXT NOT NULL,
	subject TEXT NOT NULL,
	result TEXT NOT NULL,
	detail TEXT NOT NULL
)

CREATE TABLE refused_deliveries (
	forge TEXT NOT NULL,
	reason TEXT NOT NULL,
	total INTEGER NOT NULL,
	at INTEGER NOT NULL,
	message TEXT NOT NULL,
	hint TEXT NOT NULL,
	CONSTRAINT pk_refused_deliveries PRIMARY KEY (forge, reason)
)

CREATE TABLE service_hosts (
	host TEXT NOT NULL,
	environment_id TEXT NOT NULL,
	service TEXT NOT NULL,
	CONSTRAINT pk_service_hosts PRIMARY KEY (host),
	CONSTRAINT fk_service_hosts_environment_id_environments FOREIGN KEY(environment_id) REFERENCES environments (id) ON DELETE CASCADE
)

CREATE TABLE snapshots (
	id TEXT NOT NULL,
	app TEXT NOT NULL,
	number INTEGER NOT NULL,
	state TEXT NOT NULL,
	created_at INTEGER NOT NULL,
	created_by TEXT NOT NULL,
	origin TEXT NOT NULL,
	name TEXT NOT NULL,
	sha TEXT NOT NULL,
	ref TEXT NOT NULL,
	images TEXT NOT NULL,
	volumes TEXT NOT NULL,
	is_masked BOOLEAN NOT NULL,
	forks_allowed BOOLEAN NOT NULL,
	storage TEXT NOT NULL,
	is_chosen BOOLEAN NOT NULL,
	secrets_of TEXT NOT NULL,
	progress TEXT NOT NULL,
	problem TEXT,
	CONSTRAINT pk_snapshots PRIMARY KEY (id),
	CONSTRAINT uq_snapshots_app_number UNIQUE (app, number)
)

CREATE TABLE configurations (
	environment_id TEXT NOT NULL,
	generation INTEGER NOT NULL,
	value TEXT NOT NULL,
	CONSTRAINT pk_configurations PRIMARY KEY (environment_id, generation),
	CONSTRAINT fk_configurations_environment_id_environments FOREIGN KEY(environment_id) REFERENCES environments (id) ON DELETE CASCADE
)

CREATE INDEX ix_environments_host ON environments (host, updated_at)

CREATE UNIQUE INDEX uq_environments_present_host ON environments (host) WHERE run <> 'absent'

CREATE INDEX ix_deliveries_finished_at ON deliveries (finished_at)

CREATE INDEX ix_processed_events_at ON processed_events (at)

CREATE INDEX ix_changes_open ON changes (repository_id, number) WHERE is_open = 1

CREATE INDEX ix_share_links_environment_id ON share_links (environment_id)

CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END

CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END

CREATE INDEX ix_environments_subject ON environments (subject, created_at)

CREATE INDEX ix_service_hosts_environment_id ON service_hosts (environment_id)

CREATE INDEX ix_deliveries_payload ON deliveries (seq) WHERE payload <> ''

INSERT INTO alembic_version VALUES ('v8')
