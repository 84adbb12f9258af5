// i18n.js - every word of the screen, in French (the operators' language) and English. A missing English entry falls
// back to French, a missing French one to its key; the browser test fails on either.
import { keep, kept } from "./dom.js";

const TABLE = {
  "product.tagline": ["Messages des voyageurs, triés par urgence", "Passengers' messages, sorted by urgency"],
  "product.purpose": ["Aide à la lecture. Ne remplace pas les appels d'urgence (15, 17, 18, 112, 114, 3114) ni le 3117 / SMS 31177. N'envoie personne.",
    "Reading aid. Does not replace emergency calls (15, 17, 18, 112, 114, 3114) nor 3117 / SMS 31177. Dispatches nobody."],
  "skip": ["Aller à la file", "Skip to the queue"],
  "exercise": ["EXERCICE", "EXERCISE"],
  "exercise.short": ["EX.", "EX."],

  "level.U4": ["danger vital", "vital danger"],
  "level.U3": ["personne en difficulté", "person in difficulty"],
  "level.U2": ["à traiter", "to handle"],
  "level.U1": ["gêne", "nuisance"],
  "level.UX": ["non jugé", "not judged"],
  "unjudged.why": ["à lire : le modèle n'a pas pu le juger", "to read: the model could not judge it"],
  "level.U0": ["rien à faire", "nothing to do"],

  "class.person_on_tracks": ["personne sur les voies", "person on the tracks"],
  "class.suicide_distress": ["détresse suicidaire", "suicidal distress"],
  "class.medical": ["malaise, blessure", "medical"],
  "class.fire_smoke": ["feu, fumée, gaz", "fire, smoke, gas"],
  "class.assault": ["agression", "assault"],
  "class.sexual_harassment": ["harcèlement sexuel", "sexual harassment"],
  "class.weapon_threat": ["arme, menace armée", "weapon, armed threat"],
  "class.crowd": ["foule dangereuse", "dangerous crowd"],
  "class.stuck_train": ["train bloqué", "stuck train"],
  "class.heat_air": ["chaleur, manque d'air", "heat, lack of air"],
  "class.suspicious_item": ["objet ou comportement suspect", "suspicious item or behaviour"],
  "class.lost_vulnerable": ["personne vulnérable perdue", "lost vulnerable person"],
  "class.fall_accident": ["chute, accident", "fall, accident"],
  "class.accessibility": ["accessibilité", "accessibility"],
  "class.traffic": ["trafic", "traffic"],
  "class.service": ["service", "service"],
  "class.off_topic": ["hors sujet", "off topic"],

  "source.witness": ["témoin direct", "direct witness"],
  "source.victim": ["la personne elle-même", "the person concerned"],
  "source.relative": ["un proche", "a relative or friend"],
  "source.official_relay": ["relais d'une annonce officielle", "relay of an official notice"],
  "source.media_relay": ["relais de presse", "media relay"],
  "source.rumour": ["rumeur", "rumour"],
  "source.commentary": ["commentaire", "commentary"],

  "distress.fear": ["peur", "fear"],
  "distress.confinement": ["enfermement", "confinement"],
  "distress.suffocation_pain": ["étouffement, douleur", "suffocation, pain"],
  "distress.despair": ["désespoir", "despair"],
  "distress.separation": ["séparation", "separation"],
  "distress.abandonment": ["abandon", "abandonment"],
  "distress.shock": ["choc", "shock"],
  "distress.anger": ["colère (sans effet sur le niveau)", "anger (does not raise the level)"],
  "intensity.1": ["légère", "slight"],
  "intensity.2": ["marquée", "marked"],
  "intensity.3": ["forte", "strong"],

  "flag.hyperbole": ["exagération", "hyperbole"],
  "flag.irony": ["ironie", "irony"],
  "flag.lyrics": ["paroles de chanson", "song lyrics"],
  "flag.past": ["fait passé", "past event"],
  "flag.official_relay": ["relais officiel", "official relay"],
  "flag.media": ["article ou média", "news or media"],
  "flag.spam": ["publicité, pourriel", "spam"],
  "flag.fiction_drill": ["fiction ou exercice", "fiction or drill"],
  "flag.suicide_contempt": ["propos méprisant sur un suicide", "contempt about a suicide"],
  "flag.homonym": ["homonyme", "homonym"],
  "flag.injection": ["s'adresse à la machine", "addresses the machine"],
  "flag.resolved": ["terminé", "resolved"],

  "channel.post": ["réseau social", "social post"],
  "channel.chat": ["messagerie", "chat"],
  "channel.mail": ["courriel", "e-mail"],
  "channel.sms": ["SMS", "text message"],
  "channel.app": ["application", "app"],

  "words.0": ["très incertain", "very unsure"],
  "words.1": ["incertain", "unsure"],
  "words.2": ["probable", "probable"],
  "words.3": ["très probable", "very probable"],
  "words.4": ["presque certain", "almost certain"],

  "health.live": ["Flux en direct", "Live feed"],
  "health.connecting": ["Connexion…", "Connecting…"],
  "health.lost": ["Flux perdu", "Feed lost"],
  "health.last": ["dernier message il y a {age}", "last message {age} ago"],
  "health.none": ["aucun message reçu", "no message received"],
  "health.silent": ["aucun message depuis {age}", "no message for {age}"],
  "health.pending": ["{n} en attente", "{n} waiting"],
  "health.oldest": ["le plus ancien attend {age}", "oldest waits {age}"],
  "health.rate": ["jugés/min : {n}", "judged/min: {n}"],
  "health.failed": ["{n} non jugés", "{n} not judged"],
  "blind": ["ÉCRAN AVEUGLE : connexion perdue depuis {age}", "SCREEN BLIND: connection lost for {age}"],
  "blind.help": ["Ce qui est affiché n'est plus à jour. Reconnexion en cours.", "What is shown is out of date. Reconnecting."],
  "blind.never": ["ÉCRAN AVEUGLE : aucune connexion depuis {age}", "SCREEN BLIND: no connection for {age}"],
  "trouble.worker.failing": ["LE MODÈLE ÉCHOUE : des messages ne sont plus jugés", "THE MODEL FAILS: messages are no longer judged"],
  "trouble.worker.stopped": ["LE MODÈLE EST ARRÊTÉ : les messages arrivent sans être jugés", "THE MODEL HAS STOPPED: messages arrive and are not judged"],
  "trouble.store": ["LE SERVEUR N'ENREGISTRE PLUS : des messages sont refusés à l'entrée", "THE SERVER NO LONGER STORES: messages are refused at the door"],
  "trouble.late": ["JUGEMENT EN RETARD : le plus ancien message attend depuis {age}", "JUDGING IS LATE: the oldest message has waited {age}"],
  "trouble.help": ["{n} en attente. Lire les messages à leur source.", "{n} waiting. Read messages at their source."],
  "blind.back": ["Connexion rétablie", "Connection restored"],
  "evicted": ["{n} messages U3-U4 non ouverts ont quitté cet écran (ils restent au serveur)",
    "{n} unopened U3-U4 messages left this screen (the server keeps them)"],

  "bar.open": ["Entrée ou n : ouvrir", "Enter or n: open"],
  "bar.more": ["et {n} autres U4 à ouvrir", "and {n} more U4 to open"],
  "bar.more1": ["et 1 autre U4 à ouvrir", "and 1 more U4 to open"],
  "no_place": ["lieu non précisé", "place not given"],
  "announce.U4": ["Nouveau danger vital : {what}", "New vital danger: {what}"],
  "announce.U3": ["Nouvelle personne en difficulté : {what}", "New person in difficulty: {what}"],
  "announce.many": ["{n4} nouveaux U4, {n3} nouveaux U3", "{n4} new U4, {n3} new U3"],

  "queue.title": ["File", "Queue"],
  "queue.region": ["File des messages par urgence", "Queue of messages by urgency"],
  "queue.newest": ["récents d'abord", "newest first"],
  "queue.oldest": ["anciens d'abord", "oldest first"],
  "queue.order": ["Ordre dans un niveau", "Order inside a level"],
  "queue.empty": ["aucun", "none"],
  "queue.waiting": ["En attente des premiers messages", "Waiting for the first messages"],
  "queue.more": ["{n} de plus, non affichés", "{n} more, not shown"],
  "queue.show": ["afficher", "show"],
  "queue.hide": ["replier", "fold"],
  "queue.above": ["↑ {n} U3-U4 à ouvrir au-dessus", "↑ {n} U3-U4 to open above"],
  "queue.unseen": ["à ouvrir", "to open"],
  "queue.counts": ["Messages à l'écran, par niveau", "Messages on screen, by level"],
  "search": ["Chercher", "Search"],
  "search.hint": ["mot, gare, ligne…", "word, station, line…"],
  "search.results": ["{n} résultats", "{n} results"],
  "search.result1": ["1 résultat", "1 result"],

  "card.region": ["Message ouvert", "Open message"],
  "card.empty": ["Aucun message ouvert", "No message open"],
  "card.empty.keys": ["j k pour se déplacer, Entrée pour ouvrir, ? pour toutes les touches", "j k to move, Enter to open, ? for all keys"],
  "card.close": ["Fermer (Échap)", "Close (Esc)"],
  "card.level": ["Niveau estimé", "Estimated level"],
  "card.levels": ["Probabilité de chaque niveau", "Probability of each level"],
  "card.message": ["Message reçu", "Message received"],
  "card.evidence": ["Passages cités par le modèle soulignés", "Passages quoted by the model underlined"],
  "card.no_evidence": ["Le modèle n'a cité aucun passage", "The model quoted no passage"],
  "card.for": ["Pour", "For"],
  "card.against": ["Contre", "Against"],
  "card.no_reason": ["non rédigé par le modèle", "not written by the model"],
  "card.trace.rules": ["Justification composée à partir des étiquettes du modèle et des passages cités", "Reasons composed from the model's labels and the passages quoted"],
  "card.trace": ["Justification produite par le modèle, non vérifiée", "Justification produced by the model, not verified"],
  "card.source": ["Qui parle", "Who speaks"],
  "card.distress": ["Détresse", "Distress"],
  "card.distress.none": ["aucune relevée", "none found"],
  "card.flags": ["Réserves", "Caveats"],
  "card.flags.none": ["aucune", "none"],
  "card.channel": ["Canal", "Channel"],
  "card.place": ["Lieu dit", "Place stated"],
  "card.received": ["Reçu", "Received"],
  "card.error": ["Erreur", "Error"],
  "card.model": ["Modèle", "Model"],
  "card.timing": ["Temps", "Timing"],
  "card.id": ["Référence", "Reference"],
  "timing.queue": ["attente", "queue"],
  "timing.level": ["niveau", "level"],
  "timing.trace": ["justification", "trace"],
  "timing.total": ["total", "total"],
  "age.ago": ["il y a {age}", "{age} ago"],

  "trend.title": ["Détresse par ligne", "Distress by line"],
  "trend.unit": ["intensités (0 à 3) sommées sur {w} min", "intensities (0 to 3) summed over {w} min"],
  "trend.line": ["Ligne", "Line"],
  "trend.distress": ["détresse", "distress"],
  "trend.urgent": ["U3-U4 est.", "U3-U4 exp."],
  "trend.count": ["messages", "messages"],
  "trend.window": ["{n} dernières min", "last {n} min"],
  "trend.none": ["Pas encore de série par ligne", "No series by line yet"],
  "trend.nochart": ["Courbes non installées (uPlot absent), chiffres ci-contre", "Curves not installed (uPlot missing), figures beside"],
  "trend.lost": ["Séries non mises à jour", "Series not updated"],

  "sound.off": ["Son coupé", "Sound off"],
  "sound.on": ["Son actif", "Sound on"],
  "sound.blocked": ["Son bloqué : appuyer sur une touche", "Sound blocked: press any key"],
  "sound.absent": ["Pas de son sur ce poste", "No sound on this desk"],
  "sound.test": ["Essai du son", "Test sound"],
  "theme.dark": ["Sombre", "Dark"],
  "theme.light": ["Clair", "Light"],
  "theme": ["Thème", "Theme"],
  "language": ["English", "Français"], // the other one: it is a switch
  "language.title": ["Switch to English", "Passer en français"],
  "help": ["Aide", "Help"],
  "help.title": ["Touches", "Keys"],
  "help.close": ["Fermer", "Close"],
  "help.j": ["message suivant", "next message"],
  "help.k": ["message précédent", "previous message"],
  "help.g": ["premier message", "first message"],
  "help.n": ["ouvrir le plus ancien U4, puis U3, pas encore ouvert", "open the oldest U4, then U3, not opened yet"],
  "help.enter": ["ouvrir le message", "open the message"],
  "help.esc": ["fermer, effacer la recherche, revenir à la file", "close, clear the search, back to the queue"],
  "help.r": ["déplier ou replier la justification", "unfold or fold the justification"],
  "help.x": ["déplier ou replier U1 et U0", "unfold or fold U1 and U0"],
  "help.o": ["ordre : récents ou anciens d'abord", "order: newest or oldest first"],
  "help.slash": ["chercher", "search"],
  "help.s": ["couper ou activer le son", "sound on or off"],
  "help.t": ["thème sombre ou clair", "dark or light theme"],
  "help.l": ["français ou anglais", "French or English"],
  "help.h": ["cette aide", "this help"],
  "help.note": ["« Ouvert » ne vaut que pour cet écran : ce n'est pas une prise en compte.",
    "“Opened” holds for this screen only: it is not an acknowledgement."],
  "key.enter": ["Entrée", "Enter"],
  "key.esc": ["Échap", "Esc"],
};

let column = 0;
export const LANGUAGES = ["fr", "en"];

export function language() {
  return LANGUAGES[column];
}
export function languageOpen() {
  languageSet(LANGUAGES.includes(kept("language")) ? kept("language") : "fr", false);
}
export function languageSet(code, remember = true) {
  column = LANGUAGES.indexOf(code);
  document.documentElement.lang = code;
  if (remember) keep("language", code);
}

// The sentence for `key`, with {name} replaced.
export function t(key, values = {}) {
  const entry = TABLE[key];
  if (entry === undefined) return key;
  return (entry[column] ?? entry[0]).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
// A code from the server: the word when we know it, else the code itself, readable.
export function word(group, code) {
  const key = `${group}.${code}`;
  return key in TABLE ? t(key) : String(code ?? "").replaceAll("_", " ");
}
export function keys() {
  return Object.keys(TABLE);
}
export function complete() {
  return Object.entries(TABLE).filter(([, entry]) => entry.length !== LANGUAGES.length || entry.some((s) => !s)).map(([key]) => key);
}

export function number(value, digits = 0) {
  return value.toLocaleString(language(), { minimumFractionDigits: 0, maximumFractionDigits: digits });
}
// 0.714 -> "71 %". 100 % and 0 % are kept for what is exactly so: the model is never certain.
export function percent(p) {
  if (!Number.isFinite(p)) return "–";
  const value = p > 0 && p < 0.005 ? "<1" : p < 1 && p >= 0.995 ? ">99" : String(Math.round(p * 100));
  return language() === "fr" ? `${value}\u00a0%` : `${value}%`;
}
export function probabilityWords(p) {
  return t(`words.${p >= 0.9 ? 4 : p >= 0.75 ? 3 : p >= 0.5 ? 2 : p >= 0.3 ? 1 : 0}`);
}
// Durations as a person says them: 8 s, 2 min 05, 1 h 12, 3 j.
export function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s}\u00a0s`;
  if (s < 600) return `${Math.floor(s / 60)}\u00a0min\u00a0${String(s % 60).padStart(2, "0")}`;
  if (s < 3600) return `${Math.floor(s / 60)}\u00a0min`;
  if (s < 86400) return `${Math.floor(s / 3600)}\u00a0h\u00a0${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}`;
  return `${Math.floor(s / 86400)}\u00a0${language() === "fr" ? "j" : "d"}`;
}
export function clockTime(ms) {
  return new Date(ms).toLocaleTimeString(language() === "fr" ? "fr-FR" : "en-GB");
}
export function dateTime(ms) {
  return new Date(ms).toLocaleString(language() === "fr" ? "fr-FR" : "en-GB",
    { day: "2-digit", month: "2-digit", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
}
export function milliseconds(ms) {
  return ms >= 10000 ? duration(ms) : ms >= 1000 ? `${number(ms / 1000, 1)}\u00a0s` : `${number(ms, ms < 10 ? 1 : 0)}\u00a0ms`;
}
