// triage/reason.c - short French sentences; the tables follow the order of triage/labels.h.
#include "triage/reason.h"

#include "core/buf.h"


static const char *const said_by[N_SOURCES] = {
    "Vu par l'auteur",        "Vécu par l'auteur",  "Dit pour un proche", "Relais d'un message officiel",
    "Relais d'un média",      "Par ouï-dire",       "Commentaire",
};

static const char *const about[N_CLASSES] = {
    "personne sur les voies ou près du bord",
    "détresse, idée de mort",
    "malaise, blessure ou trouble médical",
    "feu, fumée ou odeur",
    "agression ou menace",
    "harcèlement ou agression sexuelle",
    "arme, attaque ou panique",
    "foule dense, issue bloquée",
    "train arrêté, voyageurs enfermés",
    "chaleur, manque d'air",
    "objet ou bagage sans propriétaire",
    "personne perdue ou vulnérable",
    "chute, porte, accident",
    "accès bloqué",
    "circulation, retard",
    "service, propreté, tarif",
    "hors du réseau",
};

static const char *const reserve[N_FLAGS] = {
    "formule excessive", "ton ironique",   "paroles de chanson",     "fait passé",
    "relais officiel",   "relais de média", "publicité",             "fiction ou exercice",
    "blâme d'un suicide pour un retard", "homonyme", "s'adresse à la machine", "situation dite réglée",
};

static const char *const level_words[N_LEVELS] = {
    "rien à faire", "simple gêne", "à traiter dans l'heure", "personne en difficulté", "danger vital",
};

static void quote_evidence(struct buf *b, const struct verdict *v, const struct message *m) {
    for (int i = 0; i < v->n_evidence; i++) {
        buf_append_str(b, i ? ", « " : " : « ");
        buf_append(b, m->text + v->evidence[i].begin, (size_t)(v->evidence[i].end - v->evidence[i].begin));
        buf_append_str(b, " »");
    }
}

bool reason_compose(struct verdict *v, const struct message *m) {
    struct buf why_for = {0}, against = {0};
    buf_printf(&why_for, "%s, %s", said_by[v->source], about[v->class_i]);
    quote_evidence(&why_for, v, m);
    buf_append_char(&why_for, '.');

    // Against: what softens it, what is not said, and the level the model hesitated with.
    const char *join = "";
    for (int i = 0; i < N_FLAGS; i++) {
        if (!v->flags[i]) continue;
        buf_printf(&against, "%s%s", join, reserve[i]);
        join = ", ";
    }
    if (v->level >= 2 && v->station[0] == '\0' && v->line[0] == '\0') {
        buf_printf(&against, "%saucun lieu reconnu", join);
        join = ", ";
    }
    int second = v->level == 0 ? 1 : 0;
    for (int l = 0; l < N_LEVELS; l++)
        if (l != v->level && v->p_level[l] > v->p_level[second]) second = l;
    if (v->p_level[second] >= 0.05f)
        buf_printf(&against, "%shésitation avec %s (%s, %.0f %%).", join, label_levels[second], level_words[second],
                   (double)(100 * v->p_level[second]));
    else
        buf_printf(&against, "%sautres niveaux à moins de 5 %%.", join);
    // Every phrase above begins with an ASCII letter.
    if (against.data != NULL && against.data[0] >= 'a' && against.data[0] <= 'z') against.data[0] -= 32;
    v->why_for = buf_take(&why_for);
    v->why_against = buf_take(&against);
    if (v->why_for != NULL && v->why_against != NULL) return true;
    verdict_release(v);
    return false;
}
