/*
 * libpurple, the engine of Pidgin, Adium and finch, without a window: what its user would click comes as lines on stdin,
 * what its user would see goes as lines to stdout. Fields are parted by tabs.
 *
 *   purple_client DIRECTORY          the directory keeps what ~/.purple keeps
 *
 * All that goes over the wire is told, too ("sent", "received"), so that a test sees which questions stayed unanswered.
 * Dialogs are answered as a willing user does: certificates are accepted, people may see our presence, files are taken.
 */
#include <purple.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

static GMainLoop *loop;
static PurpleAccount *account;
/* What is filled into the next forms, by the fields' ids. */
static GHashTable *filled;
static char *downloads;

/* Tells one thing; the list of fields ends with NULL. */
static void tell(const char *event, ...) {
    GString *line = g_string_new(event);
    va_list fields;
    va_start(fields, event);
    for (const char *field; (field = va_arg(fields, const char *)) != NULL;)
        g_string_append_printf(line, "\t%s", field);
    va_end(fields);
    g_strdelimit(line->str, "\r\n", ' ');
    puts(line->str);
    g_string_free(line, TRUE);
}

static const char *or_empty(const char *text) { return text ? text : ""; }

/* The event loop: GLib's. */

typedef struct {
    PurpleInputFunction function;
    gpointer data;
} Watch;

static gboolean watched(GIOChannel *channel, GIOCondition condition, gpointer data) {
    Watch *watch = data;
    int seen = 0;
    if (condition & (G_IO_IN | G_IO_HUP | G_IO_ERR)) seen |= PURPLE_INPUT_READ;
    if (condition & (G_IO_OUT | G_IO_HUP | G_IO_ERR | G_IO_NVAL)) seen |= PURPLE_INPUT_WRITE;
    watch->function(watch->data, g_io_channel_unix_get_fd(channel), seen);
    return TRUE;
}

static guint watch(int fd, PurpleInputCondition condition, PurpleInputFunction function, gpointer data) {
    Watch *watch = g_new0(Watch, 1);
    watch->function = function;
    watch->data = data;
    GIOCondition wanted = G_IO_HUP | G_IO_ERR | G_IO_NVAL;
    if (condition & PURPLE_INPUT_READ) wanted |= G_IO_IN;
    if (condition & PURPLE_INPUT_WRITE) wanted |= G_IO_OUT;
    GIOChannel *channel = g_io_channel_unix_new(fd);
    guint id = g_io_add_watch_full(channel, G_PRIORITY_DEFAULT, wanted, watched, watch, g_free);
    g_io_channel_unref(channel);
    return id;
}

static PurpleEventLoopUiOps loop_ops = {
    .timeout_add = g_timeout_add,
    .timeout_remove = g_source_remove,
    .input_add = watch,
    .input_remove = g_source_remove,
    .timeout_add_seconds = g_timeout_add_seconds,
};

/* Dialogs. */

static void *asked_for_text(const char *title, const char *primary, const char *secondary, const char *value,
                            gboolean multiline, gboolean masked, gchar *hint, const char *ok, GCallback ok_cb,
                            const char *cancel, GCallback cancel_cb, PurpleAccount *of, const char *who,
                            PurpleConversation *conversation, void *data) {
    tell("asked for text", or_empty(title), or_empty(primary), or_empty(value), NULL);
    ((void (*)(void *, const char *))ok_cb)(data, value);
    return NULL;
}

/* The first action is the willing one: "Accept" of a certificate. */
static void *asked_for_action(const char *title, const char *primary, const char *secondary, int standard,
                              PurpleAccount *of, const char *who, PurpleConversation *conversation, void *data,
                              size_t count, va_list actions) {
    const char *label = va_arg(actions, const char *);
    PurpleRequestActionCb function = va_arg(actions, PurpleRequestActionCb);
    tell("asked", or_empty(primary), label, NULL);
    if (function) function(data, 0);
    return NULL;
}

static void *asked_with_icon(const char *title, const char *primary, const char *secondary, int standard,
                             PurpleAccount *of, const char *who, PurpleConversation *conversation, gconstpointer icon,
                             gsize icon_size, void *data, size_t count, va_list actions) {
    return asked_for_action(title, primary, secondary, standard, of, who, conversation, data, count, actions);
}

static void *asked_for_fields(const char *title, const char *primary, const char *secondary,
                              PurpleRequestFields *fields, const char *ok, GCallback ok_cb, const char *cancel,
                              GCallback cancel_cb, PurpleAccount *of, const char *who,
                              PurpleConversation *conversation, void *data) {
    GString *names = g_string_new(NULL);
    for (GList *group = purple_request_fields_get_groups(fields); group; group = group->next) {
        for (GList *one = purple_request_field_group_get_fields(group->data); one; one = one->next) {
            const char *id = purple_request_field_get_id(one->data);
            const char *value = g_hash_table_lookup(filled, id);
            if (value && purple_request_field_get_type(one->data) == PURPLE_REQUEST_FIELD_STRING)
                purple_request_field_string_set_value(one->data, value);
            g_string_append_printf(names, "%s%s", names->len ? "," : "", id);
        }
    }
    tell("form", or_empty(title), or_empty(primary), names->str, NULL);
    g_string_free(names, TRUE);
    g_hash_table_remove_all(filled);
    ((PurpleRequestFieldsCb)ok_cb)(data, fields);
    return NULL;
}

static PurpleRequestUiOps request_ops = {
    .request_input = asked_for_text,
    .request_action = asked_for_action,
    .request_action_with_icon = asked_with_icon,
    .request_fields = asked_for_fields,
};

static void *notice(PurpleNotifyMsgType type, const char *title, const char *primary, const char *secondary) {
    tell(type == PURPLE_NOTIFY_MSG_ERROR ? "error" : "notice", or_empty(title), or_empty(primary),
         or_empty(secondary), NULL);
    return NULL;
}

static void *notice_with_text(const char *title, const char *primary, const char *secondary, const char *text) {
    tell("notice", or_empty(title), or_empty(primary), or_empty(secondary), or_empty(text), NULL);
    return NULL;
}

static void *user_info(PurpleConnection *connection, const char *who, PurpleNotifyUserInfo *info) {
    char *text = purple_notify_user_info_get_text_with_newline(info, " ");
    tell("info", who, text, NULL);
    g_free(text);
    return NULL;
}

static void *found(PurpleConnection *connection, const char *title, const char *primary, const char *secondary,
                   PurpleNotifySearchResults *results, gpointer data) {
    for (GList *row = results->rows; row; row = row->next) {
        GString *cells = g_string_new(NULL);
        for (GList *cell = row->data; cell; cell = cell->next)
            g_string_append_printf(cells, "%s%s", cells->len ? "|" : "", or_empty(cell->data));
        tell("found", cells->str, NULL);
        g_string_free(cells, TRUE);
    }
    return NULL;
}

static PurpleNotifyUiOps notify_ops = {
    .notify_message = notice,
    .notify_formatted = notice_with_text,
    .notify_userinfo = user_info,
    .notify_searchresults = found,
};

static void *asked_for_presence(PurpleAccount *of, const char *who, const char *id, const char *alias,
                                const char *message, gboolean on_list, PurpleAccountRequestAuthorizationCb allow,
                                PurpleAccountRequestAuthorizationCb deny, void *data) {
    tell("asked for presence", who, or_empty(message), NULL);
    allow(data);
    return NULL;
}

static PurpleAccountUiOps account_ops = {.request_authorize = asked_for_presence};

/* The log goes to stderr. */

static void log_line(PurpleDebugLevel level, const char *category, const char *text) {
    fprintf(stderr, "%s: %s", category ? category : "-", text);
}

static PurpleDebugUiOps debug_ops = {.print = log_line};

static void set_ui(void) {
    purple_accounts_set_ui_ops(&account_ops);
    purple_request_set_ui_ops(&request_ops);
    purple_notify_set_ui_ops(&notify_ops);
}

static PurpleCoreUiOps core_ops = {.ui_init = set_ui};

/* What happens. */

static void online(PurpleConnection *connection) { tell("online", purple_connection_get_display_name(connection), NULL); }

static void offline(PurpleConnection *connection) { tell("offline", NULL); }

static void failed(PurpleConnection *connection, PurpleConnectionError error, const char *text) {
    /* Pidgin connects again by itself, unless the error is final. */
    tell("failed", or_empty(text), purple_connection_error_is_fatal(error) ? "final" : "again", NULL);
}

static void came(PurpleAccount *to, const char *from, const char *text, PurpleConversation *conversation, int flags) {
    tell("message", from, text, NULL);
}

static void shown(PurpleBuddy *buddy) {
    PurpleStatus *status = purple_presence_get_active_status(purple_buddy_get_presence(buddy));
    tell("buddy", purple_buddy_get_name(buddy), purple_status_get_id(status),
         or_empty(purple_status_get_attr_string(status, "message")), NULL);
}

static void status_changed(PurpleBuddy *buddy, PurpleStatus *old, PurpleStatus *new) { shown(buddy); }

static void icon_changed(PurpleBuddy *buddy) {
    PurpleBuddyIcon *icon = purple_buddy_get_icon(buddy);
    if (icon) tell("icon", purple_buddy_get_name(buddy), or_empty(purple_buddy_icon_get_checksum(icon)), NULL);
}

static void offered(PurpleXfer *xfer, gpointer data) {
    char *name = g_path_get_basename(purple_xfer_get_filename(xfer));
    char *path = g_build_filename(downloads, name, NULL);
    tell("offered", xfer->who, name, NULL);
    purple_xfer_request_accepted(xfer, path);
    g_free(path);
    g_free(name);
}

static void transferred(PurpleXfer *xfer, const char *how) {
    tell(how, xfer->who, or_empty(purple_xfer_get_local_filename(xfer)), NULL);
}

static void sending(PurpleConnection *connection, char **text) {
    if (*text) tell("sent", *text, NULL);
}

static void receiving(PurpleConnection *connection, xmlnode **packet) {
    if (*packet == NULL) return;
    char *text = xmlnode_to_str(*packet, NULL);
    tell("received", text, NULL);
    g_free(text);
}

static void registered(PurpleAccount *of, gboolean success, void *data) {
    tell("registered", success ? "yes" : "no", NULL);
}

static void unregistered(PurpleAccount *of, gboolean success, void *data) {
    tell("unregistered", success ? "yes" : "no", NULL);
}

static void connect_signals(PurplePlugin *xmpp) {
    static int handle;
    struct { void *source; const char *name; PurpleCallback function; void *data; } signals[] = {
        {purple_connections_get_handle(), "signed-on", PURPLE_CALLBACK(online), NULL},
        {purple_connections_get_handle(), "signed-off", PURPLE_CALLBACK(offline), NULL},
        {purple_connections_get_handle(), "connection-error", PURPLE_CALLBACK(failed), NULL},
        {purple_conversations_get_handle(), "received-im-msg", PURPLE_CALLBACK(came), NULL},
        {purple_blist_get_handle(), "buddy-signed-on", PURPLE_CALLBACK(shown), NULL},
        {purple_blist_get_handle(), "buddy-signed-off", PURPLE_CALLBACK(shown), NULL},
        {purple_blist_get_handle(), "buddy-status-changed", PURPLE_CALLBACK(status_changed), NULL},
        {purple_blist_get_handle(), "buddy-icon-changed", PURPLE_CALLBACK(icon_changed), NULL},
        {purple_xfers_get_handle(), "file-recv-request", PURPLE_CALLBACK(offered), NULL},
        {purple_xfers_get_handle(), "file-recv-complete", PURPLE_CALLBACK(transferred), "file received"},
        {purple_xfers_get_handle(), "file-recv-cancel", PURPLE_CALLBACK(transferred), "file lost"},
        {purple_xfers_get_handle(), "file-send-complete", PURPLE_CALLBACK(transferred), "file sent"},
        {purple_xfers_get_handle(), "file-send-cancel", PURPLE_CALLBACK(transferred), "file not sent"},
        {xmpp, "jabber-sending-text", PURPLE_CALLBACK(sending), NULL},
        {xmpp, "jabber-receiving-xmlnode", PURPLE_CALLBACK(receiving), NULL},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
        purple_signal_connect(signals[i].source, signals[i].name, &handle, signals[i].function, signals[i].data);
}

/* What the user does. */

static void choose_action(PurpleConnection *connection, const char *label) {
    PurplePlugin *plugin = purple_connection_get_prpl(connection);
    GList *actions = PURPLE_PLUGIN_ACTIONS(plugin, connection);
    for (GList *one = actions; one; one = one->next) {
        PurplePluginAction *action = one->data;
        if (action == NULL) continue;
        action->plugin = plugin;
        action->context = connection;
        if (strcmp(action->label, label) == 0) action->callback(action);
    }
}

static void set_icon(const char *path) {
    char *data;
    gsize length;
    if (g_file_get_contents(path, &data, &length, NULL))
        purple_buddy_icons_set_account_icon(account, (guchar *)data, length);
}

static void set_option(const char *name, const char *value) {
    if (strcmp(name, "port") == 0)
        purple_account_set_int(account, name, atoi(value));
    else if (strcmp(name, "auth_plain_in_clear") == 0)
        purple_account_set_bool(account, name, strcmp(value, "yes") == 0);
    else
        purple_account_set_string(account, name, value);
}

static void add_buddy(const char *who) {
    PurpleBuddy *buddy = purple_buddy_new(account, who, NULL);
    PurpleGroup *group = purple_find_group("Friends");
    if (group == NULL) {
        group = purple_group_new("Friends");
        purple_blist_add_group(group, NULL);
    }
    purple_blist_add_buddy(buddy, NULL, group, NULL);
    purple_account_add_buddy(account, buddy);
}

static PurplePluginProtocolInfo *protocol(PurpleConnection *connection) {
    return PURPLE_PLUGIN_PROTOCOL_INFO(purple_connection_get_prpl(connection));
}

static void obey(char **words) {
    const char *verb = words[0], *first = words[1] ? words[1] : "", *second = first[0] && words[2] ? words[2] : "";
    PurpleConnection *connection = account ? purple_account_get_connection(account) : NULL;
    if (strcmp(verb, "account") == 0) {
        account = purple_account_new(first, "prpl-jabber");
        purple_account_set_password(account, second);
        purple_account_set_remember_password(account, TRUE);
        purple_accounts_add(account);
    } else if (strcmp(verb, "option") == 0)
        set_option(first, second);
    else if (strcmp(verb, "register") == 0) {
        purple_account_set_register_callback(account, registered, NULL);
        purple_account_register(account);
    } else if (strcmp(verb, "unregister") == 0)
        purple_account_unregister(account, unregistered, NULL);
    else if (strcmp(verb, "connect") == 0)
        purple_account_set_enabled(account, "interop", TRUE);
    else if (strcmp(verb, "disconnect") == 0)
        purple_account_set_enabled(account, "interop", FALSE);
    else if (strcmp(verb, "fill") == 0)
        g_hash_table_insert(filled, g_strdup(first), g_strdup(second));
    else if (strcmp(verb, "status") == 0)
        purple_account_set_status(account, first, TRUE, "message", second, NULL);
    else if (strcmp(verb, "no ports") == 0) {
        /* Nobody can connect to us: the one port that we may listen on is taken. */
        purple_prefs_set_bool("/purple/network/ports_range_use", TRUE);
        purple_prefs_set_int("/purple/network/ports_range_start", atoi(first));
        purple_prefs_set_int("/purple/network/ports_range_end", atoi(first));
    } else if (connection == NULL)
        tell("error", "not connected", verb, NULL);
    else if (strcmp(verb, "action") == 0)
        choose_action(connection, first);
    else if (strcmp(verb, "say") == 0)
        serv_send_im(connection, first, second, PURPLE_MESSAGE_SEND);
    else if (strcmp(verb, "add") == 0)
        add_buddy(first);
    else if (strcmp(verb, "remove") == 0) {
        PurpleBuddy *buddy = purple_find_buddy(account, first);
        purple_account_remove_buddy(account, buddy, purple_buddy_get_group(buddy));
        purple_blist_remove_buddy(buddy);
    } else if (strcmp(verb, "block") == 0)
        purple_privacy_deny_add(account, first, FALSE);
    else if (strcmp(verb, "unblock") == 0)
        purple_privacy_deny_remove(account, first, FALSE);
    else if (strcmp(verb, "ask info") == 0)
        serv_get_info(connection, first);
    else if (strcmp(verb, "icon") == 0)
        set_icon(first);
    else if (strcmp(verb, "idle") == 0)
        protocol(connection)->set_idle(connection, atoi(first));
    else if (strcmp(verb, "keepalive") == 0)
        protocol(connection)->keepalive(connection);
    else if (strcmp(verb, "send file") == 0)
        serv_send_file(connection, first, second);
    else
        tell("error", "unknown", verb, NULL);
}

static gboolean line_came(GIOChannel *input, GIOCondition condition, gpointer data) {
    char *line;
    gsize end;
    GIOStatus status = g_io_channel_read_line(input, &line, NULL, &end, NULL);
    if (status == G_IO_STATUS_AGAIN) return TRUE;
    if (status != G_IO_STATUS_NORMAL) {
        g_main_loop_quit(loop);
        return FALSE;
    }
    line[end] = '\0';
    char **words = g_strsplit(line, "\t", -1);
    obey(words);
    g_strfreev(words);
    g_free(line);
    return TRUE;
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    loop = g_main_loop_new(NULL, FALSE);
    filled = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    downloads = arguments[1];
    setvbuf(stdout, NULL, _IOLBF, 0);
    purple_util_set_user_dir(arguments[1]);
    purple_debug_set_enabled(FALSE);
    purple_debug_set_ui_ops(&debug_ops);
    purple_core_set_ui_ops(&core_ops);
    purple_eventloop_set_ui_ops(&loop_ops);
    if (!purple_core_init("interop")) return 1;
    purple_set_blist(purple_blist_new());
    purple_prefs_load();
    /* No router is asked for ports. */
    purple_prefs_set_bool("/purple/network/map_ports", FALSE);
    PurplePlugin *xmpp = purple_find_prpl("prpl-jabber");
    if (xmpp == NULL) return 1;
    connect_signals(xmpp);
    GIOChannel *input = g_io_channel_unix_new(STDIN_FILENO);
    g_io_channel_set_flags(input, G_IO_FLAG_NONBLOCK, NULL);
    g_io_add_watch(input, G_IO_IN | G_IO_HUP, line_came, NULL);
    tell("ready", purple_core_get_version(), NULL);
    g_main_loop_run(loop);
    purple_core_quit();
    return 0;
}
