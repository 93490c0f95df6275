"""Made-up mails in five languages: each asks one of four queues, and names a product."""

import random

from rungwise.core.records import Example

QUEUES = {
    "chinese": {
        "delivery": ["包裹还没有送到", "快递一直没有更新", "什么时候能发货"],
        "billing": ["发票金额不对", "我被重复扣款了", "请退还多收的钱"],
        "repair": ["拉链坏了", "用了两天就裂开了", "想申请保修"],
        "account": ["忘记密码登录不了", "请删除我的账户", "想修改注册邮箱"],
    },
    "japanese": {
        "delivery": ["荷物がまだ届きません", "配達状況を教えてください", "いつ発送されますか"],
        "billing": ["請求書の金額が違います", "二重に引き落とされました", "返金をお願いします"],
        "repair": ["ファスナーが壊れました", "縫い目が裂けています", "保証で修理できますか"],
        "account": ["パスワードを忘れました", "退会したいです", "登録メールを変更したい"],
    },
    "thai": {
        "delivery": ["พัสดุยังมาไม่ถึง", "ขนส่งไม่อัปเดตสถานะ", "จะส่งของเมื่อไร"],
        "billing": ["ใบแจ้งหนี้ไม่ถูกต้อง", "ถูกหักเงินสองครั้ง", "ขอเงินคืน"],
        "repair": ["ซิปพัง", "ตะเข็บขาด", "ขอเคลมประกัน"],
        "account": ["ลืมรหัสผ่าน", "ขอลบบัญชี", "เปลี่ยนอีเมลที่ลงทะเบียน"],
    },
    "arabic": {
        "delivery": ["لم يصل الطرد بعد", "متى سيتم الشحن", "لا يوجد تحديث للتوصيل"],
        "billing": ["الفاتورة غير صحيحة", "تم الخصم مرتين", "أريد استرداد المبلغ"],
        "repair": ["السحاب مكسور", "تمزقت الخياطة", "أطلب الضمان"],
        "account": ["نسيت كلمة المرور", "احذفوا حسابي", "أريد تغيير بريدي المسجل"],
    },
    "german": {
        "delivery": ["die Sendung kam nie an", "wann wird geliefert", "der Paketbote kam nie"],
        "billing": ["die Rechnungssumme stimmt nicht", "es wurde doppelt abgebucht", "bitte das Geld erstatten"],
        "repair": ["der Reißverschluss klemmt", "die Naht riss auf", "ein Gewährleistungsfall"],
        "account": ["ich habe mein Kennwort vergessen", "bitte das Konto löschen", "neue Mailadresse hinterlegen"],
    },
}
"""Language -> queue -> what a mail can say."""
OPENINGS = {
    "chinese": ["你好，我买的{product}有问题，", "您好，上周订的{product}，", "关于{product}，"],
    "japanese": ["こんにちは、先週買った「{product}」ですが、", "お世話になります、「{product}」について、"],
    "thai": ["สวัสดีค่ะ เรื่อง {product} ", "สอบถามเรื่อง {product} "],
    "arabic": ["مرحبا، بخصوص {product}، ", "السلام عليكم، بخصوص {product}، "],
    "german": ["Hallo, es geht um {product}: ", "Guten Tag, Betreff {product}: "],
}
PRODUCTS = {
    "chinese": ["登山鞋", "睡袋", "雨衣", "帐篷", "头灯", "水壶", "手套", "背包", "炉子", "毛毯"],
    "japanese": [
        "登山靴",
        "寝袋",
        "レインコート",
        "テント",
        "ヘッドライト",
        "水筒",
        "手袋",
        "スコップ",
        "ピッケル",
        "ロープ",
        "リュック",
        "毛布",
    ],
    "thai": ["รองเท้า", "ถุงนอน", "เสื้อกันฝน", "เต็นท์", "ไฟฉาย", "กระติกน้ำ", "ถุงมือ", "เป้", "ผ้าห่ม"],
    "arabic": ["حذاء", "خيمة", "معطف", "مصباح", "قفازات", "حقيبة", "بطانية", "موقد", "قارورة"],
    "german": ["Stiefel", "Schlafsack", "Regenjacke", "Zelt", "Stirnlampe", "Flasche", "Handschuhe", "Kocher"],
}
LANGUAGES = tuple(QUEUES)


def mails(language: str, n: int, seed: int, products: list[str] | None = None) -> list[tuple[str, str, str]]:
    """Returns (text, queue, product) of made-up mails."""
    draw = random.Random(seed)
    rows = []
    for _ in range(n):
        product = draw.choice(products or PRODUCTS[language])
        queue = draw.choice(sorted(QUEUES[language]))
        opening = draw.choice(OPENINGS[language]).format(product=product)
        rows.append((opening + draw.choice(QUEUES[language][queue]), queue, product))
    return rows


def rows_with(answers: list[tuple[str, str]], per_group: int = 1) -> list[Example]:
    """Returns rows of (text, answer); `per_group` rows in a row belong to one lineage group."""
    return [
        Example(f"r{i}", {"body": text}, answer, "s", i, f"g{i // per_group}")
        for i, (text, answer) in enumerate(answers)
    ]
